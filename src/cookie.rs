//! The session cookie as text: read from a request, written into an answer (RFC 6265bis; S05, S18, S19, S20).

use std::time::Duration;

use crate::clock::Timestamp;
use crate::options::{Options, SameSite};
use crate::token::Token;

/// How the session cookie is named and protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookiePolicy {
    name: String,
    /// Everything that follows the lifetime.
    attributes: String,
    path: String,
}

/// What a request's `Cookie` headers hold under the session cookie's name.
#[derive(Clone, Debug)]
pub enum Presented {
    /// No cookie of that name.
    Nothing,
    /// One cookie, of the form of a token.
    Token(Token),
    /// One cookie that cannot be a token: made up by the client.
    Malformed,
    /// Two or more: which one counts would depend on chance, so none does (S05).
    Ambiguous,
}

impl CookiePolicy {
    /// The policy that the options ask for. The name's prefix is the strictest that they allow: `__Host-` for this host and
    /// all its paths, `__Secure-` with a domain or a path, none for a cookie that is not secure.
    pub fn of(options: &Options) -> Self {
        let Options {
            cookie_name,
            cookie_domain,
            cookie_path,
            cookie_same_site,
            cookie_secure,
            ..
        } = options;
        let prefix = match (cookie_secure, cookie_domain.as_str(), cookie_path.as_str()) {
            (false, ..) => "",
            (true, "", "/") => "__Host-",
            _ => "__Secure-",
        };
        let domain = match cookie_domain.as_str() {
            "" => String::new(),
            domain => format!("; Domain={domain}"),
        };
        let secure = if *cookie_secure { "; Secure" } else { "" };
        let same_site = match cookie_same_site {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
            SameSite::None => "None",
        };
        Self {
            name: format!("{prefix}{cookie_name}"),
            attributes: format!("{domain}{secure}; HttpOnly; SameSite={same_site}"),
            path: cookie_path.clone(),
        }
    }

    /// The cookie's name, prefix included.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Finds the session cookie in the values of a request's `Cookie` headers.
    pub fn read<'a>(&self, headers: impl Iterator<Item = &'a [u8]>) -> Presented {
        let mut found = Presented::Nothing;
        for pair in headers.flat_map(|header| header.split(|byte| *byte == b';')) {
            let Some(value) = self.value_of(pair) else {
                continue;
            };
            if !matches!(found, Presented::Nothing) {
                return Presented::Ambiguous;
            }
            let token = std::str::from_utf8(value).ok().and_then(Token::parse);
            found = token.map_or(Presented::Malformed, Presented::Token);
        }
        found
    }

    fn value_of<'a>(&self, pair: &'a [u8]) -> Option<&'a [u8]> {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        (pair[..equals].trim_ascii() == self.name.as_bytes())
            .then(|| pair[equals + 1..].trim_ascii())
    }

    /// The `Set-Cookie` value that gives a client its token for so long.
    pub fn set(&self, token: &Token, lifetime: Duration) -> String {
        self.write(
            token.expose(),
            &format!("Max-Age={}", whole_seconds(lifetime)),
        )
    }

    /// The `Set-Cookie` value that deletes the cookie: same name, path and attributes, a past `Expires` (C04, S19).
    pub fn delete(&self) -> String {
        let past = httpdate::fmt_http_date(Timestamp::EPOCH.as_system_time());
        self.write("", &format!("Max-Age=0; Expires={past}"))
    }

    fn write(&self, value: &str, lifetime: &str) -> String {
        let Self {
            name,
            attributes,
            path,
        } = self;
        format!("{name}={value}; Path={path}; {lifetime}{attributes}")
    }
}

/// Rounds up, so that a client does not give its cookie up before the server does.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(policy: &CookiePolicy, headers: &[&str]) -> Presented {
        policy.read(headers.iter().map(|header| header.as_bytes()))
    }

    #[test]
    fn s18_the_cookie_is_host_bound_and_explicit() {
        let policy = CookiePolicy::of(&Options::default());
        let token = Token::mint().unwrap();
        assert_eq!(
            policy.set(&token, Duration::from_millis(60_001)),
            format!(
                "__Host-4DSID={}; Path=/; Max-Age=61; Secure; HttpOnly; SameSite=Lax",
                token.expose()
            ),
        );
    }

    #[test]
    fn s18_the_prefix_is_the_strictest_that_the_options_allow() {
        let written = |options: &Options| CookiePolicy::of(options).delete();
        let mut options = Options {
            cookie_domain: "example.com".into(),
            ..Options::default()
        };
        assert!(written(&options).starts_with("__Secure-4DSID=; Path=/; "));
        assert!(
            written(&options).ends_with("; Domain=example.com; Secure; HttpOnly; SameSite=Lax")
        );
        options = Options {
            cookie_path: "/app".into(),
            cookie_name: "X".into(),
            ..Options::default()
        };
        assert!(written(&options).starts_with("__Secure-X=; Path=/app; "));
        options.cookie_secure = false;
        options.cookie_same_site = SameSite::Strict;
        assert!(
            written(&options).starts_with("X=; ")
                && written(&options).ends_with("GMT; HttpOnly; SameSite=Strict")
        );
    }

    #[test]
    fn s19_deleting_uses_the_same_name_path_and_attributes() {
        let policy = CookiePolicy::of(&Options::default());
        assert_eq!(
            policy.delete(),
            "__Host-4DSID=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax",
        );
    }

    #[test]
    fn s05_hostile_cookie_headers_have_one_reading() {
        let policy = CookiePolicy::of(&Options {
            cookie_secure: false,
            ..Options::default()
        });
        let good = Token::mint().unwrap();
        let own = format!("4DSID={}", good.expose());
        assert!(
            matches!(read(&policy, &[&format!("a=b; {own} ;c")]), Presented::Token(token) if token.expose() == good.expose())
        );
        assert!(matches!(
            read(&policy, &["a=b", "4dsid=x", "x4DSID=y", "4DSID"]),
            Presented::Nothing
        ));
        for value in ["", "../../x", "*", "A", &"A".repeat(65_536)] {
            assert!(matches!(
                read(&policy, &[&format!("4DSID={value}")]),
                Presented::Malformed
            ));
        }
        for headers in [
            &[format!("{own}; 4DSID=evil")][..],
            &[format!("4DSID=evil; {own}")],
            &[own.clone(), own.clone()],
        ] {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            assert!(matches!(read(&policy, &headers), Presented::Ambiguous));
        }
        assert!(matches!(
            policy.read([&b"4DSID=\xff\xfe"[..]].into_iter()),
            Presented::Malformed
        ));
    }
}
