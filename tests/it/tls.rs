//! Certificates made for a test, and a server of the built binary that has one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::sandbox::{Sandbox, Server};

/// Who issues certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("an authority")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Its own certificate, as a file of the sandbox.
    pub(crate) fn file(&self, sandbox: &Sandbox, name: &str) -> String {
        let path = sandbox.path(name);
        fs::write(&path, &self.pem).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A certificate for these names, valid in the years from and before these, and its key.
    pub(crate) fn issue(&self, names: &[&str], years: (i32, i32)) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// Years in which certificates of tests are valid.
pub(crate) const VALID: (i32, i32) = (2020, 4000);

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pair {
    /// Puts both where [`serve_tls`] has them.
    pub(crate) fn put(&self, sandbox: &Sandbox) {
        write(sandbox, CERTIFICATE, &self.certificate, 0o644);
        write(sandbox, KEY, &self.key, 0o600);
    }
}

pub(crate) const CERTIFICATE: &str = "tls.cert";

pub(crate) const KEY: &str = "tls.key";

pub(crate) fn write(sandbox: &Sandbox, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = sandbox.path(name);
    // As an administrator's tools do it: nobody finds half a file.
    let new = sandbox.path(&format!("{name}.new"));
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(&new, &path).unwrap();
    path
}

/// The flags of a server that has the certificate of the sandbox, on this address.
pub(crate) fn tls_flags(sandbox: &Sandbox, admin: &str) -> Vec<String> {
    let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    [
        "--admin",
        admin,
        "--admin-token-file",
        &path("admin.token"),
        "--tls-cert",
        &path(CERTIFICATE),
        "--tls-key",
        &path(KEY),
    ]
    .map(str::to_owned)
    .into()
}

/// A server with the certificate of the sandbox.
pub(crate) fn serve_tls(sandbox: &Sandbox, more: &[&str]) -> Server {
    let flags = tls_flags(sandbox, "127.0.0.1:0");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    sandbox.serve(&[&flags[..], more].concat())
}

/// The same, with an authority whose certificate is in the file that is named.
pub(crate) fn trusted_server(sandbox: &Sandbox) -> (Server, Authority, String) {
    let authority = Authority::new();
    authority
        .issue(&["localhost", "127.0.0.1"], VALID)
        .put(sandbox);
    let file = authority.file(sandbox, "ca.pem");
    (serve_tls(sandbox, &[]), authority, file)
}

/// The port of an address.
pub(crate) fn port(url: &str) -> &str {
    url.rsplit_once(':').unwrap().1
}

/// What `openssl s_client` says of a connection to this port.
pub(crate) fn openssl(port: &str, flags: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}
