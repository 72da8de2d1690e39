//! Looks at what `serve` is configured with: whom it lets in, what it believes, and which files others can use.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::config::{DEFAULT_FILE, Flags, Plan};
use super::super::exit::{Again, Exit};
use super::super::findings::Findings;
use super::super::listen::{check_admin, check_app_token};
use super::super::tls::{TlsFiles, untimely};
use super::super::token_file::read_token_of;
use super::super::{Environment, method};
use crate::clock::Timestamp;

/// How long before its end a certificate is told of: those that are made anew by themselves are by then.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The file that is read unless another is named, if it is there.
pub(super) fn default_file() -> Option<PathBuf> {
    Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists())
}

pub(super) fn look(
    file: PathBuf,
    environment: &Environment,
    now: Timestamp,
    again: Again<'_>,
    findings: &mut Findings,
) {
    let check = format!(
        "{} is a configuration that serve understands",
        file.display()
    );
    let plan = match Plan::make(Flags::of_file(file), environment) {
        Ok(plan) => plan,
        Err(error) => return findings.fault(check, error, again),
    };
    findings.ok(check);
    look_at_admin(&plan, again, findings);
    let tokens = [&plan.admin_token_file, &plan.app_token_file];
    for token_file in tokens.into_iter().flatten() {
        look_at_token_file(token_file, user_of(&plan), again, findings);
    }
    if let Some(files) = &plan.tls {
        look_at_tls(files, now, again, findings);
    }
    let check = "nobody else chooses the on-close method";
    match method::check(&plan.method) {
        Ok(()) => findings.ok(check),
        Err(unfit) => findings.fault(check, unfit.failure(Exit::Config, None), again),
    }
    look_at_web(&plan, findings);
}

fn look_at_admin(plan: &Plan, again: Again<'_>, findings: &mut Findings) {
    let check = format!("the admin API at {} lets in whom it should", plan.admin);
    let token_file = plan.admin_token_file.as_deref();
    let checked = check_admin(&plan.admin, token_file, plan.tls.is_some())
        .and_then(|()| check_app_token(plan.app_token_file.as_deref(), token_file));
    match checked {
        Ok(()) => findings.ok(check),
        Err(error) => findings.fault(check, error, again),
    }
}

/// Whether it holds a token that the server's user alone has in hand; one that is not there yet is made so.
fn look_at_token_file(path: &Path, owner: u32, again: Again<'_>, findings: &mut Findings) {
    let check = format!("the token in {} is its owner's alone", path.display());
    let found = path.symlink_metadata();
    if found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return findings.ok(format!("{check} (serve makes it)"));
    }
    match read_token_of(path, owner) {
        Ok(_) => findings.ok(check),
        Err(error) => findings.fault(check, error, again),
    }
}

/// The server's user: whoever has its data, or starts it first. Root may look at another's server.
fn user_of(plan: &Plan) -> u32 {
    let found = plan.data.metadata();
    found.map_or_else(
        |_| rustix::process::geteuid().as_raw(),
        |metadata| metadata.uid(),
    )
}

fn look_at_tls(files: &TlsFiles, now: Timestamp, again: Again<'_>, findings: &mut Findings) {
    let check = "the certificate and its key can be served";
    let identity = match files.read() {
        Ok(identity) => identity,
        Err(error) => return findings.fault(check, error, again),
    };
    findings.ok(check);
    let until = identity.valid_until();
    let check = format!("the certificate is valid (until {until})");
    let fix = "put another in its place, then systemctl reload sessionctl";
    match untimely(&identity, now) {
        Some(why) => findings.fail(check, why, Some(fix.into())),
        None if now.plus(SOON) >= until => findings.warn(check, "that is soon", fix),
        None => findings.ok(check),
    }
}

fn look_at_web(plan: &Plan, findings: &mut Findings) {
    let check = format!("web clients at {} come through a proxy with TLS", plan.web);
    if plan.web.ip().to_canonical().is_loopback() {
        findings.ok(check);
    } else {
        findings.warn(
            check,
            "this address is reached from other machines, over plain http",
            "web = \"127.0.0.1:8080\" behind a proxy (sessionctl generate nginx), unless a firewall keeps others out",
        );
    }
    let everybody = plan
        .trusted_proxies
        .iter()
        .find(|network| network.prefix_len() == 0);
    let check = "only proxies are believed about whom they speak for";
    match everybody {
        Some(network) => {
            let said = "whoever connects can say that it comes from any address";
            let fix = "trusted_proxies with the addresses of the proxies alone";
            findings.fail(
                check,
                format!("{network} is everybody: {said}"),
                Some(fix.into()),
            );
        }
        None => findings.ok(check),
    }
}
