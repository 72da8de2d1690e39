//! The man pages of section 7: the options with the configuration file, the exit codes, and what a server refuses. Names, ranges,
//! defaults, paths, codes and types come from the tables that the program itself goes by.

use std::io;

use super::Generated;
use super::page::Page;
use crate::cli::config::{DEFAULT_FILE, default_in_words, sentence};
use crate::cli::exit::{EXIT_CODES, Exit, exit_of_problem};
use crate::cli::method::PASSED_ON;
use crate::cli::target::{SYSTEM_DATA, SYSTEM_SOCKET};
use crate::on_close::ANSWER_LIMIT;
use crate::options::{FIXED_OPTIONS, OPTIONS, OptionSpec};
use crate::registry::ON_CLOSE_VARIABLE;
use crate::wire::ProblemType;

/// The section of what is no command.
const SECTION: &str = "7";

const OPTIONS_PAGE: &str = "sessionctl-options";

const EXIT_CODES_PAGE: &str = "sessionctl-exit-codes";

const ERRORS_PAGE: &str = "sessionctl-errors";

/// The pages that are written here, each with its section: every page names them.
pub(super) const NAMES: [(&str, &str); 3] = [
    (OPTIONS_PAGE, SECTION),
    (EXIT_CODES_PAGE, SECTION),
    (ERRORS_PAGE, SECTION),
];

/// A configuration file that shows how one is written.
const EXAMPLE: &str = include_str!("server.toml");

/// Every page of this section.
pub(super) fn pages() -> io::Result<[Generated; 3]> {
    let file = |name: &str, page: &Page| -> io::Result<Generated> {
        Ok(Generated {
            name: format!("{name}.{SECTION}"),
            bytes: page.bytes()?,
        })
    };
    Ok([
        file(OPTIONS_PAGE, &options_page())?,
        file(EXIT_CODES_PAGE, &exit_codes_page())?,
        file(ERRORS_PAGE, &errors_page())?,
    ])
}

fn options_page() -> Page {
    let mut page = Page::begun(
        OPTIONS_PAGE,
        SECTION,
        "options and configuration file of the session server",
    );
    page.section("DESCRIPTION");
    page.paragraph(
        "`sessionctl serve` takes its options from a configuration file and from its flags; `sessionctl options set` changes \
         most of them while it runs. `sessionctl options list` shows what is in force.",
    );
    page.section("OPTIONS");
    page.paragraph(
        "An option has the same name everywhere; as a flag it has hyphens, as in `--max-sessions`. After it stands the \
         property of 4D's Web Server object that it is like, where there is one.",
    );
    for spec in &OPTIONS {
        add_option(&mut page, spec);
    }
    add_values(&mut page);
    add_precedence(&mut page);
    add_what_a_change_ends(&mut page);
    add_fixed_options(&mut page);
    add_on_close(&mut page);
    add_configuration_file(&mut page);
    add_permissions(&mut page);
    add_files(&mut page);
    page.see_also([
        ("sessionctl", "1"),
        ("sessionctl-serve", "1"),
        ("sessionctl-options", "1"),
        (EXIT_CODES_PAGE, SECTION),
        (ERRORS_PAGE, SECTION),
    ]);
    page
}

fn add_option(page: &mut Page, spec: &OptionSpec) {
    let name_in_4d = spec.name_in_4d.map(|name| format!(" (4D: {name})"));
    let term = format!("`{}`{}", spec.name, name_in_4d.unwrap_or_default());
    page.term(
        &term,
        &[
            &format!("{}.", sentence(spec.summary)),
            &format!("Values: {}.", spec.form.range()),
            &format!("Default: {}.", default_in_words(spec)),
            &format!("Acts {}.", spec.acts),
        ],
    );
}

fn add_values(page: &mut Page) {
    page.section("VALUES");
    page.term("Time", &[
        "A number and its unit, `ms`, `s`, `m`, `h` or `d`, or several of them: `90s`, `8h`, `1h 30m`. 4D counts minutes, so a \
         number without a unit is refused; `0` needs none.",
    ]);
    page.term("Number", &["Digits alone."]);
    page.term(
        "Switch",
        &["`on` or `off`; `true` and `false`, `1` and `0` are read as well."],
    );
    page.term("Word", &["One of those that the option names."]);
    page.term("Text", &["As it is; in a shell, the empty text is `''`."]);
    page.paragraph(
        "Where 0 stands for the default, and for the empty `cookie_name`, it is as in 4D: the default is set, like any other \
         value, and wins over what the file and the flags say.",
    );
    page.paragraph(
        "JSON has times in milliseconds and switches as true and false, in the answers of `sessionctl options -o json` and \
         over the admin API.",
    );
}

fn add_precedence(page: &mut Page) {
    page.section("WHO WINS");
    page.paragraph(
        "The file wins over the default, a flag over the file, and what was set at run time over all of them. What was set \
         at run time is kept in the data directory, over restarts, until `sessionctl options reset` takes it back: then the \
         flag, the file or the default counts again. `sessionctl options list --origin` tells where each value comes from. \
         When the server starts, its log names every value of the file and the flags that one set at run time hides.",
    );
    page.paragraph(
        "`keep_session` is another name for `mode`, for those who know it from 4D. Off is the mode `none`. Set to on at run \
         time, it leaves the mode as it is, unless that is `none`: then it is `legacy` again. A file, or flags, that say one \
         thing with `mode` and another with `keep_session` are refused.",
    );
}

fn add_what_a_change_ends(page: &mut Page) {
    page.section("WHAT A CHANGE MAY END");
    page.paragraph(
        "A shorter time-out ends the sessions that are beyond it. A lower `max_sessions` ends sessions that are too many and \
         idle. Another name of the cookie, or another prefix of it, ends none, but the server does not recognise the clients \
         of any session any more. A change of `mode` ends none: a session keeps the mode that it was opened in.",
    );
    page.paragraph(&format!(
        "If a change with `sessionctl options set` or `reset` would do such a thing, nothing is changed; the command says how \
         many sessions it is about and ends with {}. `--yes` goes ahead, `--dry-run` only asks. Nobody is asked when a server \
         starts with other values in its file or its flags.",
        Exit::Usage.code()
    ));
}

fn add_fixed_options(page: &mut Page) {
    page.section("FIXED AT THE START");
    page.paragraph(
        "These come from the file and the flags alone. The admin API cannot set them: whoever may end sessions is not \
         thereby to move the data, to open the server to others, to choose whose word about a client's address is believed, or to \
         choose which program is started.",
    );
    for (name, summary) in &FIXED_OPTIONS {
        page.term(&format!("`{name}`"), &[&format!("{}.", sentence(summary))]);
    }
}

fn add_on_close(page: &mut Page) {
    page.section("ON-CLOSE METHOD");
    page.paragraph(
        "When a process of a session closes, the server calls the program of `on_close`, while the variables, selections and \
         record locks of the process are still there. It is started directly, without a shell, with `on_close_arguments`, in \
         the directory `/`. Scalable sessions, `sessionctl drop-session` and a process that ends by itself call nothing.",
    );
    page.paragraph(&format!(
        "On its standard input it reads one JSON document: `key`, `session`, `process`, `context`, `cause`, `reason`, `actor`, \
         `closed_at` and `late`. What it writes on its standard output, JSON of at most {} KiB or nothing, is kept as the saved \
         information of the session, for the application. It ends with 0 if all went well. Whatever it does, the session is \
         closed; `sessionctl history show` tells what became of it.",
        ANSWER_LIMIT / 1024
    ));
    page.paragraph(
        "It is called at least once for each process. If the server is killed meanwhile, it is called again with the same \
         `key`. If it could not be called before `closing_time_limit` was over, it is called later with a copy of what the \
         process had, and `late` is true: the records are not locked any more. When `on_close_time_limit` is over, it gets \
         SIGTERM and then SIGKILL, together with everything that it has started.",
    );
    let passed_on = PASSED_ON.map(|name| format!("`{name}`")).join(", ");
    page.paragraph(&format!(
        "Of the server's environment it gets {passed_on}, where they are set. `{ON_CLOSE_VARIABLE}` is the key; \
         `SESSIONCTL_SERVER`, and `SESSIONCTL_TOKEN_FILE` where a token is needed, lead its own `sessionctl` commands to this \
         server; where the admin address has TLS, to a socket for them alone. Such commands never wait for a closing: `close-session` returns as soon as the cookie is refused.",
    ));
    page.paragraph(
        "The word `save` stands for a method that needs no program: it keeps the context itself as the saved information. The \
         word `none` stands for no method, as a flag that wins over the file. Without a server, `sessionctl --local DIR \
         close-session` calls what the last server of the directory called, and answers its commands itself meanwhile; its \
         flag `--on-close` names another.",
    );
}

fn add_configuration_file(page: &mut Page) {
    let keys = FIXED_OPTIONS.map(|(name, _)| format!("`{name}`"));
    page.section("CONFIGURATION FILE");
    page.paragraph(&format!(
        "`{DEFAULT_FILE}` is read if it is there; `sessionctl serve --config` names another. It is TOML. Its keys are {}, all \
         of them optional, and its table `[options]` has the options of this page. Values of options are written as they are \
         typed, or as numbers and switches of TOML; `trusted_proxies` is a list, where the flag has commas, and \
         `on_close_arguments` is one, where the flag `--on-close-argument` stands once for each. Anything else in the file is \
         refused.",
        keys.join(", ")
    ));
    page.paragraph("For example:");
    page.example(EXAMPLE);
    page.paragraph(&format!(
        "`sessionctl serve --check-config` reads it, tells what a server would start with, and touches nothing; what is wrong \
         with it ends with {}. A running server does not read it again: restart it. What `tls_cert` and `tls_key` name it reads \
         again at SIGHUP, which is what `systemctl reload` sends.",
        Exit::Config.code()
    ));
}

fn add_permissions(page: &mut Page) {
    page.section("PERMISSIONS");
    page.paragraph(
        "The server does not start with a file that somebody else could have written, or with a secret that somebody else can \
         read.",
    );
    page.term(
        "The configuration file",
        &["A file that root or the server's user owns, and that neither group nor others can write: `chmod go-w`. The \
           server's user must be able to read it, and to enter its directory."],
    );
    page.term(
        "`data`",
        &["A directory of the server's user. It is made if it is not there, and closed to everybody else (0700)."],
    );
    page.term(
        "`admin`",
        &["A socket (0600) that its owner and root may use. Only the last directory on its way is made (0700). Where groups have \
           roles, everybody may connect (0666, 0711) and is let in by who it is."],
    );
    page.term(
        "`admin_token_file`",
        &["A file, not a link, that the server's user owns and nobody else can read: `chmod 600`. It is made if it is not \
           there. An admin address with a port needs one."],
    );
    page.term(
        "`tls_cert`, `tls_key`",
        &["Files that root or the server's user owns, and that neither group nor others can write: `chmod go-w`. The key only \
           its group may read besides: `chmod g-w,o=`. Links are followed; the same must be true of what they lead to."],
    );
    page.term(
        "`app_token_file`",
        &["A file like that of the admin token, with another token in it."],
    );
    page.term(
        "`on_close`",
        &["A file that root or the server's user owns, that neither group nor others can write, and that can be executed. \
           The same holds for every directory on the way to it and for every link, save that others may write a directory \
           such as `/tmp` if the program is in one below it."],
    );
}

fn add_files(page: &mut Page) {
    page.section("FILES");
    let files = [
        (DEFAULT_FILE, "The configuration file."),
        (
            SYSTEM_DATA,
            "The data of a server that systemd or root runs.",
        ),
        (SYSTEM_SOCKET, "The admin socket of such a server."),
    ];
    for (path, what) in files {
        page.term(&format!("`{path}`"), &[what]);
    }
}

fn exit_codes_page() -> Page {
    let mut page = Page::begun(EXIT_CODES_PAGE, SECTION, "how sessionctl ends");
    page.section("DESCRIPTION");
    page.paragraph(
        "Every command of `sessionctl` ends with one of these codes. Scripts can rely on them.",
    );
    add_exit_codes(&mut page);
    page.section("MANY TARGETS");
    page.paragraph(&format!(
        "A command with several targets tries each of them and tells what came of it. If all came to the same, their code is \
         that of the command; if not, it is {partial}. If what came of one of them is unknown, the code is {unknown}, \
         whatever came of the others. A failure that every target would meet, such as a server that cannot be reached, stops \
         the command; it ends with {partial} if something was done before. A signal stops it as well, with {interrupted} or \
         {terminated}. In each case it says how many targets were not attempted.",
        partial = Exit::Partial.code(),
        unknown = Exit::Unknown.code(),
        interrupted = Exit::Interrupted.code(),
        terminated = Exit::Terminated.code(),
    ));
    page.section("THE SAME COMMAND AGAIN");
    page.paragraph(&format!(
        "`close-session` and `drop-session` can be given again after any failure: that a session is closed already is no \
         error ({done}), and that nobody knows it is one with `--must-exist` only ({missing}).",
        done = Exit::Done.code(),
        missing = Exit::Missing.code(),
    ));
    page.section("THE SERVER");
    page.paragraph(&format!(
        "`serve` ends with {done} when a signal stops it, and with {config} when its configuration has to be mended before it \
         can start. The unit that `sessionctl generate systemd` writes starts it again after any other failure.",
        done = Exit::Done.code(),
        config = Exit::Config.code(),
    ));
    page.see_also([
        ("sessionctl", "1"),
        ("sessionctl-close-session", "1"),
        ("sessionctl-serve", "1"),
        (OPTIONS_PAGE, SECTION),
        (ERRORS_PAGE, SECTION),
    ]);
    page
}

fn errors_page() -> Page {
    let mut page = Page::begun(
        ERRORS_PAGE,
        SECTION,
        "what the session server refuses, and what to try",
    );
    page.section("DESCRIPTION");
    page.paragraph(
        "What the server refuses, over the admin API and to web clients, it answers with a problem: a JSON document of the media \
         type `application/problem+json` (RFC 9457). Its `type` is one of these, behind the words `urn:sessionctl:problem:`; it \
         is stable, and what programs go by. `status` repeats the status of the answer, `title` says what it is, `detail` what \
         happened this time. Some types have more members, such as `id`, `limit` or `retry_after` (milliseconds).",
    );
    page.paragraph(
        "Two refusals have no body: the 401 of `/check` and of `/logout`. `sessionctl openapi` prints which route refuses what.",
    );
    page.section("TYPES");
    for kind in ProblemType::ALL {
        page.term(
            &format!("`{}` ({}, {})", kind.name(), kind.status(), kind.title()),
            &[
                kind.meaning(),
                &format!("Try: {}", kind.advice()),
                &format!("Exit code: {}.", exit_of_problem(*kind).code()),
            ],
        );
    }
    page.section("EXIT CODES");
    page.paragraph(
        "The exit code is that of a command with one target that a server refuses so. Where nothing came back there is no \
         problem either: `sessionctl-exit-codes(7)` has the codes for a server that cannot be reached, and for an answer that \
         never came.",
    );
    page.see_also([
        ("sessionctl", "1"),
        ("sessionctl-serve", "1"),
        (OPTIONS_PAGE, SECTION),
        (EXIT_CODES_PAGE, SECTION),
    ]);
    page
}

/// Adds an entry for every exit code.
pub(super) fn add_exit_codes(page: &mut Page) {
    for (_, code, meaning) in &EXIT_CODES {
        page.term(&format!("`{code}`"), &[meaning]);
    }
}
