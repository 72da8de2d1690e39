//! Whose page a request comes from: cross-site requests and rebound names get nothing (S28).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;

use super::auth::{Denied, refuse, stranger};
use super::connection::Peer;
use super::tls::Tls;
use super::{Shared, answer};
use crate::access::Access;
use crate::error::Error;
use crate::wire::Fault;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets only those through to the admin API who call it by a name of this machine, or by one that its certificate is valid
/// for, and no page of another site. Whoever is refused is kept account of: pages that try are what an operator wants to know.
pub(super) async fn guard<T: Access + 'static>(
    State(shared): State<Arc<Shared<T>>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some((why, answer)) = foreign(&parts, shared.tls.as_ref()) else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let denied = Denied {
        why: why.into(),
        answer,
        source: stranger(parts.extensions.get()),
        is_guess: false,
    };
    refuse(&parts, denied, &shared.service).await
}

/// Why a request is none that somebody of this machine sends, and the answer to it.
fn foreign(request: &Parts, tls: Option<&Tls>) -> Option<(&'static str, Response)> {
    let headers = &request.headers;
    // Where nobody says who is at the other end, in somebody else's router, it is taken for a network.
    if !matches!(request.extensions.get(), Some(Peer::Unix { .. })) {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            let why = "a request has one Host";
            return Some((why, answer::error(&Error::Invalid(why.into()))));
        };
        let is_own = |host: &str| {
            let name = without_port(host);
            is_loopback(name) || tls.is_some_and(|tls| tls.is_for(name))
        };
        if !host.to_str().is_ok_and(is_own) {
            let why = "the Host is not a name of this machine";
            return Some((why, answer::fault(Fault::Misdirected)));
        }
    }
    if !is_same_origin(headers) {
        let why = "a request from another site is refused";
        return Some((why, answer::error(&Error::Forbidden(why.into()))));
    }
    None
}

/// The name or address of a `Host`; an address of IPv6 without its brackets.
fn without_port(host: &str) -> &str {
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    name.strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name)
}

/// A name that no other machine's name server can make point here.
fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// By `Sec-Fetch-Site`, which a page cannot forge; from older browsers by `Origin`; other clients send neither.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    // Which of two counts is nobody's guess: it is none that a browser sends.
    let text = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        let one = values.next()?.to_str().unwrap_or("?");
        Some(values.next().map_or(one, |_| "?"))
    };
    match (text(FETCH_SITE), text(ORIGIN), text(HOST)) {
        (Some(site), ..) => site == "same-origin" || site == "none",
        (None, None, _) => true,
        (None, Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, authority)| authority == host),
        (None, Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn s28_only_the_same_origin_is_let_in() {
        let cases: [(&[(HeaderName, &'static str)], bool); 10] = [
            (&[], true),
            (
                &[
                    (FETCH_SITE, "same-origin"),
                    (ORIGIN, "https://a.example"),
                    (HOST, "inner:8080"),
                ],
                true,
            ),
            (&[(FETCH_SITE, "none")], true),
            (
                &[
                    (FETCH_SITE, "same-site"),
                    (ORIGIN, "https://b.example"),
                    (HOST, "a.example"),
                ],
                false,
            ),
            (&[(FETCH_SITE, "cross-site")], false),
            (&[(ORIGIN, "https://a.example"), (HOST, "a.example")], true),
            (
                &[(ORIGIN, "https://evil.example"), (HOST, "a.example")],
                false,
            ),
            (&[(ORIGIN, "null"), (HOST, "a.example")], false),
            (&[(FETCH_SITE, "none"), (FETCH_SITE, "cross-site")], false),
            (
                &[
                    (ORIGIN, "https://a.example"),
                    (ORIGIN, "https://evil.example"),
                    (HOST, "a.example"),
                ],
                false,
            ),
        ];
        for (headers, expected) in cases {
            let map = headers
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(is_same_origin(&map), expected, "{headers:?}");
        }
    }

    #[test]
    fn s28_only_names_of_this_machine_are_hosts() {
        for host in [
            "localhost",
            "LOCALHOST:8081",
            "127.0.0.1:1",
            "127.8.9.1",
            "[::1]:8081",
            "[::1]",
        ] {
            assert!(is_loopback(without_port(host)), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8081",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "[2001:db8::1]",
            "127.0.0.1@evil.example",
        ] {
            assert!(!is_loopback(without_port(host)), "{host}");
        }
    }
}
