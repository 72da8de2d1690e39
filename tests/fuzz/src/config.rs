use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use sessionctl::cli::{Environment, Host, run};
use sessionctl::clock::SystemClock;
use toml::Table;

use super::is_plain;
use super::table::Kept;

/// A server's configuration: it is understood or refused with the exit code for that, and what is told of it is plain text.
pub fn config(bytes: &[u8]) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("server.toml");
    std::fs::write(&file, bytes).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let (code, stdout, stderr) = check(home.path(), &file);
    assert!(is_plain(&stdout), "{stdout:?}");
    assert!(is_plain(&stderr), "{stderr:?}");
    match code {
        0 => {
            let text = std::str::from_utf8(bytes).unwrap();
            let table: Table = text.parse().unwrap();
            for name in table.keys() {
                let shown = stdout.lines().any(|line| line.starts_with(name.as_str()));
                assert!(shown || name == "options", "{name:?} in {stdout}");
            }
            assert!(stderr.is_empty(), "{stderr}");
        }
        78 => assert!(
            stdout.is_empty() && stderr.contains("\ntry:   "),
            "{stderr}"
        ),
        _ => panic!("exit {code}: {stderr}"),
    }
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
}

fn check(home: &Path, file: &Path) -> (u8, String, String) {
    let file = file.to_str().unwrap();
    let arguments = ["sessionctl", "serve", "--check-config", "--config", file];
    let variables = ["HOME", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"];
    let environment: Environment = variables
        .map(|name| (name.into(), home.into()))
        .into_iter()
        .collect();
    let (stdout, stderr) = (Kept::default(), Kept::default());
    let code = run(Host {
        stdin_is_terminal: false,
        args: arguments.map(Into::into).into(),
        environment,
        stdin: Box::new(std::io::empty()),
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
        terminal_width: None,
        stderr_is_terminal: false,
        clock: Arc::new(SystemClock),
    });
    (code, stdout.text(), stderr.text())
}
