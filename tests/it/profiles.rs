//! Servers that an operator gave a name, in a file of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::sandbox::{FakeServer, Sandbox, answer};
use crate::tls::{Authority, trusted_server};

/// Writes the file of profiles, which nobody else can write.
fn write_profiles(sandbox: &Sandbox, text: &str) {
    let directory = sandbox.path(".config/sessionctl");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("config.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn a_profile_has_address_authority_and_token() {
    let mut sandbox = Sandbox::new();
    let (server, ..) = trusted_server(&sandbox);
    let named = format!(
        "[profiles.prod]\nserver = {:?}\ncacert = \"../../ca.pem\"\ntoken_file = {:?}\n\n[profiles.other]\nserver = \"unix:/nowhere\"\n",
        server.admin,
        sandbox.path("admin.token")
    );
    write_profiles(&sandbox, &named);
    assert_eq!(sandbox.run(&["--profile", "prod", "count"]).ok(), "0\n");
    assert_eq!(sandbox.run(&["--profile", "other", "count"]).code, 7);
    let doctor = sandbox.run(&["--profile", "prod", "doctor"]).ok();
    assert!(
        doctor.contains(&server.admin) && !doctor.contains("data directory"),
        "{doctor}"
    );
    // What is told to be tried is for the same server.
    let advice = sandbox.run(&[
        "--profile",
        "prod",
        "show",
        "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11",
    ]);
    assert!(
        advice.stderr.contains("sessionctl --profile prod list"),
        "{}",
        advice.stderr
    );
    // Flags win over it.
    let stranger = Authority::new().file(&sandbox, "stranger.pem");
    assert_eq!(
        sandbox
            .run(&["--profile", "prod", "--cacert", &stranger, "count"])
            .code,
        7
    );
    assert_eq!(
        sandbox
            .run(&["--profile", "prod", "--token-file", "missing", "count"])
            .code,
        4
    );
    sandbox.set_variable("SESSIONCTL_PROFILE", "prod");
    assert_eq!(sandbox.run(&["count"]).ok(), "0\n");
    assert_eq!(sandbox.run(&["--server", "unix:/nowhere", "count"]).code, 7);
    fs::rename(sandbox.path(".config"), sandbox.path("elsewhere")).unwrap();
    assert_eq!(sandbox.run(&["count"]).code, 2);
    let elsewhere = sandbox.path("elsewhere");
    sandbox.set_variable("XDG_CONFIG_HOME", elsewhere);
    assert_eq!(sandbox.run(&["count"]).ok(), "0\n");
}

/// A path that is none of its own is as good as no path.
#[test]
fn a_relative_path_for_the_file_of_profiles_is_ignored() {
    let mut sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let profile = format!("[profiles.here]\nserver = {:?}\n", server.admin);
    write_profiles(&sandbox, &profile);
    let count = ["--profile", "here", "count"];
    for relative in ["elsewhere", "./.config", ""] {
        sandbox.set_variable("XDG_CONFIG_HOME", relative);
        assert_eq!(sandbox.run(&count).ok(), "0\n", "{relative:?}");
    }
    sandbox.set_variable("HOME", "elsewhere");
    let nowhere = sandbox.run(&count);
    assert_eq!(nowhere.code, 2);
    assert!(
        nowhere
            .stderr
            .contains("neither XDG_CONFIG_HOME nor HOME is an absolute path"),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn s47_what_one_server_is_given_no_other_gets() {
    let mut sandbox = Sandbox::new();
    let fake = FakeServer::answering(vec![answer(200, "{}"); 2]);
    let (_server, ..) = trusted_server(&sandbox);
    let token_file = sandbox.path("admin.token");
    write_profiles(
        &sandbox,
        &format!(
            "[profiles.bare]\nserver = {:?}\n\n[profiles.prod]\nserver = \"http://127.0.0.1:1\"\ntoken_file = {token_file:?}\n",
            fake.url
        ),
    );
    for flags in [["--server", &fake.url], ["--local", "x"]] {
        let both = sandbox.run(&[&flags[..], &["--profile", "prod", "count"]].concat());
        assert_eq!(both.code, 2, "{}", both.stderr);
    }
    sandbox.set_variable("SESSIONCTL_SERVER", &fake.url);
    let both = sandbox.run(&["--profile", "prod", "count"]);
    assert_eq!(both.code, 2);
    assert!(
        both.stderr
            .contains("SESSIONCTL_SERVER and --profile are both set"),
        "{}",
        both.stderr
    );
    sandbox.set_variable("SESSIONCTL_PROFILE", "prod");
    assert_eq!(sandbox.run(&["count"]).code, 2);
    assert_eq!(fake.requests(), [""; 0]);
    // A flag is the last word: the profile of the environment keeps what it has to itself.
    let _ = sandbox.run(&["--server", &fake.url, "count"]);
    // What the environment has is for whom the environment names.
    sandbox.set_variable("SESSIONCTL_SERVER", "");
    sandbox.set_variable("SESSIONCTL_TOKEN_FILE", token_file);
    let _ = sandbox.run(&["--profile", "bare", "count"]);
    let requests = fake.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(
        !requests.concat().to_lowercase().contains("authorization"),
        "{requests:?}"
    );
}

#[test]
fn s46_profiles_that_others_write_are_refused_and_mistakes_are_named() {
    let sandbox = Sandbox::new();
    let run = || sandbox.run(&["--profile", "prod", "count"]);
    let missing = run();
    assert_eq!(missing.code, 2);
    assert!(
        missing.stderr.contains(".config/sessionctl/config.toml"),
        "{}",
        missing.stderr
    );
    for (text, told) in [
        (
            "[profiles.stage]\nserver = \"unix:/x\"\n[profiles.test]\nserver = \"unix:/x\"\n",
            "stage, test",
        ),
        ("", "it has none"),
        (
            "[profiles.prod]\nservr = \"unix:/x\"\n",
            "line 2: unknown field `servr`",
        ),
        (
            "[profiles.prod]\ncacert = \"ca.pem\"\n",
            "missing field `server`",
        ),
        (
            "[profile.prod]\nserver = \"unix:/x\"\n",
            "unknown field `profile`",
        ),
        (
            "[profiles.prod]\nserver = \"http://192.0.2.1:1\"\n",
            "profile prod",
        ),
        ("[profiles.prod]\nserver = \"nowhere\"\n", "profile prod"),
    ] {
        write_profiles(&sandbox, text);
        let refused = run();
        assert_eq!(refused.code, 2, "{text}: {}", refused.stderr);
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    write_profiles(&sandbox, "[profiles.prod]\nserver = \"unix:/x\"\n");
    assert_eq!(run().code, 7);
    let path = sandbox.path(".config/sessionctl/config.toml");
    for mode in [0o664, 0o646] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = run();
        assert_eq!(refused.code, 4, "{}", refused.stderr);
        let fix = format!("try:   chmod go-w {}\n", path.display());
        assert!(refused.stderr.contains(&fix), "{}", refused.stderr);
    }
    let token = "Az-_".repeat(11);
    let pasted = sandbox.run(&["--profile", &token, "count"]);
    assert_eq!(pasted.code, 2);
    assert!(!pasted.stderr.contains(&token), "{}", pasted.stderr);
    assert_eq!(sandbox.run(&["--profile", "prod", "serve"]).code, 2);
}
