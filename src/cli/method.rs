//! The on-close method as it is configured: what names it, which programs may be it (S39, S46), what it is told of its
//! surroundings (S40).

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Access;

use super::Environment;
use super::exit::{Exit, Failure};
use super::quoted;
use crate::on_close::Method;

/// The variables of the environment that a method gets, where they are set. It gets no other (S40).
pub(super) const PASSED_ON: [&str; 5] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ"];

/// Links that are followed on the way to a program, as Linux does.
const LINK_LIMIT: usize = 40;

/// Mode bits that let others than the owner write.
const OTHERS_WRITE: u32 = 0o022;

/// The mode bit of a directory in which everybody removes only what is their own.
const STICKY: u32 = 0o1000;

/// The method that an operator names: `none`, `save`, or the absolute path of a program.
pub(super) fn named(name: &str, arguments: Vec<String>) -> Result<Method, Failure> {
    let refused = |text: String| Failure::new(Exit::Config, text);
    let method = match name {
        path if path.starts_with('/') => {
            if arguments.iter().any(|argument| argument.contains('\0')) {
                return Err(refused(
                    "an argument of the on-close method has a NUL character".into(),
                )
                .advise("on_close_arguments without it"));
            }
            return Ok(Method::Program {
                path: path.into(),
                arguments,
            });
        }
        "none" => Method::None,
        "save" => Method::Save,
        other => {
            let text = format!(
                "the on-close method {} is neither the absolute path of a program nor save or none",
                quoted(other)
            );
            return Err(refused(text).advise("--on-close /PATH/TO/PROGRAM"));
        }
    };
    if !arguments.is_empty() {
        let text = format!("the on-close method is {name}: only a program takes arguments");
        return Err(refused(text).advise(
            "--on-close /PATH/TO/PROGRAM, or no --on-close-argument and on_close_arguments",
        ));
    }
    Ok(method)
}

/// What a method gets of the environment (S40).
pub(super) fn environment(environment: &Environment) -> Vec<(OsString, OsString)> {
    let set = PASSED_ON.iter().filter_map(|name| {
        let value = environment.variable(name)?;
        Some((name.into(), value.clone()))
    });
    set.collect()
}

/// A path as a method sees it, which runs in another directory.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

/// Why a program cannot be the on-close method.
#[derive(Debug)]
pub(super) struct Unfit {
    text: String,
    advice: String,
    source: Option<io::Error>,
    /// Whether somebody else can choose what is started.
    pub(super) is_loose: bool,
}

impl Unfit {
    fn new(text: String, advice: impl Into<String>) -> Self {
        Self {
            text,
            advice: advice.into(),
            source: None,
            is_loose: false,
        }
    }

    fn loose(text: String, advice: impl Into<String>) -> Self {
        Self {
            is_loose: true,
            ..Self::new(text, advice)
        }
    }

    /// As a failure of the command, and what else helps.
    pub(super) fn failure(self, exit: Exit, or_else: Option<&str>) -> Failure {
        let advice = match or_else {
            Some(or_else) => format!("{}; or {or_else}", self.advice),
            None => self.advice,
        };
        let failure = Failure::new(exit, self.text).advise(advice);
        match self.source {
            Some(source) => failure.caused_by(source),
            None => failure,
        }
    }
}

/// Refuses a program that is not there, that cannot be started, or that others than root and this user can put another
/// program in the place of (S39, S46).
pub(super) fn check(method: &Method) -> Result<(), Unfit> {
    let Method::Program { path, .. } = method else {
        return Ok(());
    };
    let (program, metadata) = Way::to(path)?;
    let shown = program.display();
    if !metadata.is_file() {
        let text = format!("the on-close method {shown} is not a file");
        return Err(Unfit::new(text, "--on-close with the path of a program"));
    }
    check_owner(&program, &metadata)?;
    if metadata.mode() & OTHERS_WRITE != 0 {
        let text = format!("others can write the on-close method {shown}");
        return Err(Unfit::loose(text, format!("chmod go-w {shown}")));
    }
    rustix::fs::access(program.as_path(), Access::EXEC_OK).map_err(|error| Unfit {
        source: Some(error.into()),
        ..Unfit::new(
            format!("the on-close method {shown} cannot be executed"),
            format!("chmod +x {shown}"),
        )
    })
}

/// The way to a program: every name on it is looked up in a directory that nobody else can write.
struct Way {
    directory: PathBuf,
    /// The mode of that directory.
    mode: u32,
    /// Names that are still to be looked up, the next one last.
    names: Vec<OsString>,
    links: usize,
}

impl Way {
    /// Follows the way to its end; answers where that is, and what is there.
    fn to(path: &Path) -> Result<(PathBuf, Metadata), Unfit> {
        let mut way = Self {
            directory: PathBuf::new(),
            mode: 0,
            names: Vec::new(),
            links: 0,
        };
        way.enter("/".into())?;
        way.go_on_with(path);
        while let Some(name) = way.names.pop() {
            if name == OsStr::new("..") {
                let parent = way.directory.parent().unwrap_or(Path::new("/")).to_owned();
                way.enter(parent)?;
                continue;
            }
            let next = way.directory.join(name);
            let metadata = look_at(&next)?;
            if metadata.is_dir() {
                if way.names.is_empty() {
                    return Ok((next, metadata));
                }
                way.enter(next)?;
                continue;
            }
            if way.mode & OTHERS_WRITE != 0 {
                let directory = way.directory.display();
                let text = format!(
                    "anybody can put a file of their own into {directory}, where the on-close method is"
                );
                return Err(Unfit::loose(
                    text,
                    "move it to a directory that only root or this user can write",
                ));
            }
            if !metadata.is_symlink() {
                return way.end_at(next, metadata);
            }
            way.follow(&next, &metadata)?;
        }
        let metadata = look_at(&way.directory)?;
        Ok((way.directory, metadata))
    }

    fn go_on_with(&mut self, path: &Path) {
        let names = path
            .components()
            .rev()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some(OsString::from("..")),
                Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
            });
        self.names.extend(names);
    }

    /// Enters a directory in which others can at most put, and remove, what is their own.
    fn enter(&mut self, directory: PathBuf) -> Result<(), Unfit> {
        let metadata = look_at(&directory)?;
        check_owner(&directory, &metadata)?;
        let mode = metadata.mode();
        if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            let shown = directory.display();
            let text = format!(
                "others can write {shown}, which is on the way to the on-close method: they can put another in its place"
            );
            return Err(Unfit::loose(text, format!("chmod go-w {shown}")));
        }
        self.directory = directory;
        self.mode = mode;
        Ok(())
    }

    fn follow(&mut self, link: &Path, metadata: &Metadata) -> Result<(), Unfit> {
        check_owner(link, metadata)?;
        self.links += 1;
        if self.links > LINK_LIMIT {
            let text = "the links on the way to the on-close method lead nowhere".into();
            return Err(Unfit::new(
                text,
                "--on-close with the path of the program itself",
            ));
        }
        let target = fs::read_link(link).map_err(|error| unreadable(link, error))?;
        if target.is_absolute() {
            self.enter("/".into())?;
        }
        self.go_on_with(&target);
        Ok(())
    }

    fn end_at(self, file: PathBuf, metadata: Metadata) -> Result<(PathBuf, Metadata), Unfit> {
        if self.names.is_empty() {
            return Ok((file, metadata));
        }
        Err(unreadable(&file, io::ErrorKind::NotADirectory.into()))
    }
}

fn look_at(path: &Path) -> Result<Metadata, Unfit> {
    fs::symlink_metadata(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: io::Error) -> Unfit {
    let text = format!(
        "the on-close method is not there, or not to be seen: {}",
        path.display()
    );
    Unfit {
        source: Some(error),
        ..Unfit::new(
            text,
            "--on-close with the path of a program that this user can start",
        )
    }
}

/// Whoever owns a file, a link or a directory can put another in its place.
fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), Unfit> {
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == 0 || owner == me {
        return Ok(());
    }
    let shown = path.display();
    let text = format!(
        "{shown}, on the way to the on-close method, belongs to uid {owner}, neither to root nor to uid {me}"
    );
    Err(Unfit::loose(text, format!("chown -h root {shown}")))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A program in a directory of its own, below one that is as open as `/tmp`.
    fn program() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        set_mode(directory.path(), 0o755);
        let bin = directory.path().canonicalize().unwrap().join("bin");
        fs::create_dir(&bin).unwrap();
        set_mode(&bin, 0o755);
        let path = bin.join("method");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        set_mode(&path, 0o755);
        (directory, path)
    }

    fn checked(path: &Path) -> Result<(), Unfit> {
        check(&named(path.to_str().unwrap(), Vec::new()).unwrap())
    }

    #[test]
    fn a_method_is_a_word_or_an_absolute_path() {
        assert_eq!(named("none", Vec::new()).unwrap(), Method::None);
        assert_eq!(named("save", Vec::new()).unwrap(), Method::Save);
        let program = Method::Program {
            path: "/bin/true".into(),
            arguments: vec!["-x".into()],
        };
        assert_eq!(named("/bin/true", vec!["-x".into()]).unwrap(), program);
        for (name, arguments) in [
            ("", vec![]),
            ("bin/true", vec![]),
            ("true", vec![]),
            ("save", vec!["-x".into()]),
            ("none", vec!["-x".into()]),
            ("/bin/true", vec!["a\0b".into()]),
        ] {
            assert!(named(name, arguments).is_err(), "{name}");
        }
    }

    #[test]
    fn s39_only_a_file_that_can_be_executed_is_a_method() {
        let (directory, path) = program();
        assert!(checked(&path).is_ok());
        let missing = directory.path().join("bin/missing");
        let below_a_file = path.join("method");
        for unfit in [directory.path(), Path::new("/"), &missing, &below_a_file] {
            assert!(!checked(unfit).unwrap_err().is_loose, "{}", unfit.display());
        }
        set_mode(&path, 0o644);
        assert!(!checked(&path).unwrap_err().is_loose);
    }

    #[test]
    fn s46_what_others_can_replace_is_no_method() {
        let (directory, path) = program();
        let bin = path.parent().unwrap().to_owned();
        let parent = directory.path().to_owned();
        for (place, loose, tight) in [
            (&path, 0o775, 0o755),
            (&path, 0o757, 0o755),
            (&bin, 0o777, 0o755),
            (&bin, 0o1777, 0o755),
            (&parent, 0o775, 0o755),
        ] {
            set_mode(place, loose);
            assert!(checked(&path).unwrap_err().is_loose, "{}", place.display());
            set_mode(place, tight);
            assert!(checked(&path).is_ok());
        }
        set_mode(&parent, 0o1777);
        assert!(checked(&path).is_ok(), "as below /tmp");
    }

    #[test]
    fn s46_links_are_as_good_as_the_ways_that_they_lead() {
        let (directory, path) = program();
        let parent = directory.path().canonicalize().unwrap();
        let (link, relative) = (parent.join("link"), parent.join("relative"));
        symlink(&path, &link).unwrap();
        symlink("bin/../bin/./method", &relative).unwrap();
        assert!(checked(&link).is_ok() && checked(&relative).is_ok());
        let round = parent.join("round");
        symlink(&round, &round).unwrap();
        assert!(checked(&round).is_err());
        set_mode(&parent, 0o1777);
        assert!(
            checked(&link).unwrap_err().is_loose,
            "in a directory like /tmp"
        );
        set_mode(&parent, 0o755);
        set_mode(path.parent().unwrap(), 0o777);
        for way in [&link, &relative] {
            assert!(checked(way).unwrap_err().is_loose);
        }
    }
}
