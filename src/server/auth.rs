//! Who may use the admin API, and for what (S26, S27, S30). Over the unix socket: the server's own user and root, as operators.
//! Over TCP, in somebody else's router, and wherever a token is presented: whoever has the token, in its role.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::Shared;
use super::answer;
use super::connection::Peer;
use crate::admin::Actor;
use crate::error::Error;
use crate::token::{Token, TokenHash};
use crate::wire::path;

/// What the application's token is good for, method and route (C07 for the close). Whatever is not here is the operators'
/// alone, also a route that is new.
const OF_THE_APPLICATION: [(&str, &str); 16] = [
    ("POST", path::SESSIONS),
    ("POST", path::LOGIN),
    ("POST", path::CLOSE),
    ("GET", path::SAVED),
    ("POST", path::PROCESSES),
    ("GET", path::PROCESS),
    ("DELETE", path::PROCESS),
    ("GET", path::CONTEXT),
    ("GET", path::VARIABLE),
    ("PUT", path::VARIABLE),
    ("DELETE", path::VARIABLE),
    ("GET", path::SELECTION),
    ("PUT", path::SELECTION),
    ("DELETE", path::SELECTION),
    ("PUT", path::LOCK),
    ("DELETE", path::LOCK),
];

/// As whom a request may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// An operator: everything.
    Admin,
    /// The application whose sessions they are: [`OF_THE_APPLICATION`].
    Application,
}

impl Role {
    fn may(self, method: &Method, path: &str) -> bool {
        let method = as_read(method);
        match self {
            Self::Admin => true,
            Self::Application => OF_THE_APPLICATION
                .iter()
                .any(|(listed, route)| *listed == method && is_at(route, path)),
        }
    }
}

/// A method, with HEAD as what it is: GET, whose answer goes without its body.
pub(super) fn as_read(method: &Method) -> &str {
    match method {
        &Method::HEAD => "GET",
        method => method.as_str(),
    }
}

/// Whether a path, as the request has it, is at a route: each part in braces stands for one segment.
pub(super) fn is_at(route: &str, path: &str) -> bool {
    let is_same = |(part, segment): (&str, &str)| {
        part == segment || part.starts_with('{') && !segment.is_empty()
    };
    route.split('/').count() == path.split('/').count()
        && route.split('/').zip(path.split('/')).all(is_same)
}

/// The tokens that are known; a role without one has nobody who comes with a token.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tokens {
    pub(super) admin: Option<TokenHash>,
    pub(super) application: Option<TokenHash>,
}

/// Lets a request through as its [`Actor`], or refuses it.
pub(super) async fn authenticate<T>(
    State(shared): State<Arc<Shared<T>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let (error, is_out_of_scope) = match identify(&request, &shared.tokens) {
        Ok((role, actor)) if role.may(request.method(), request.uri().path()) => {
            request.extensions_mut().insert(actor);
            return next.run(request).await;
        }
        Ok(_) => {
            let text = "the application's token is not good for this; an operator may do it";
            (Error::Forbidden(text.into()), true)
        }
        Err(error) => (error, false),
    };
    let peer = request.extensions().get::<Peer>().map(Peer::to_string);
    let (method, path) = (request.method().as_str(), request.uri().path());
    tracing::warn!(
        peer = peer.unwrap_or_default(),
        method,
        path,
        "admin request refused: {error}"
    );
    let mut response = answer::error(&error);
    if is_out_of_scope {
        // RFC 6750, 3.1.
        let challenge = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn identify(request: &Request, tokens: &Tokens) -> Result<(Role, Actor), Error> {
    let presents = request.headers().contains_key(AUTHORIZATION);
    match request.extensions().get::<Peer>() {
        // Who presents a token wants to be no more than it makes of them.
        Some(Peer::Unix { uid }) if !presents => by_user(*uid),
        Some(Peer::Unix { .. } | Peer::Tcp(_)) | None => by_token(request, tokens),
    }
}

fn by_user(uid: Option<u32>) -> Result<(Role, Actor), Error> {
    let me = rustix::process::geteuid().as_raw();
    match uid {
        Some(uid) if uid == me || uid == 0 => Ok((Role::Admin, Actor::user(uid))),
        _ => {
            let who = uid.map_or_else(|| "an unknown user".into(), |uid| format!("uid {uid}"));
            Err(Error::Forbidden(format!(
                "{who} may not use this admin socket; its owner and root may"
            )))
        }
    }
}

fn by_token(request: &Request, tokens: &Tokens) -> Result<(Role, Actor), Error> {
    let presented = bearer(request).ok_or(Error::Unauthenticated)?.hash();
    let is = |known: Option<TokenHash>| known.is_some_and(|known| known.matches(&presented));
    if is(tokens.admin) {
        Ok((Role::Admin, Actor::token("admin")))
    } else if is(tokens.application) {
        Ok((Role::Application, Actor::application()))
    } else {
        Err(Error::Unauthenticated)
    }
}

fn bearer(request: &Request) -> Option<Token> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Token::parse(token.trim())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

    const ROUTES: [&str; 18] = [
        path::SESSIONS,
        path::SESSION,
        path::CLOSE,
        path::DROP,
        path::LOCKS,
        path::HISTORY,
        path::HISTORY_ENTRY,
        path::OPTIONS,
        path::STATS,
        path::LOGIN,
        path::SAVED,
        path::PROCESSES,
        path::PROCESS,
        path::CONTEXT,
        path::VARIABLE,
        path::SELECTION,
        path::LOCK,
        "/v1/what-comes-later/{id}",
    ];

    /// S30: the application's token is good for what it needs; all else is refused to it, also what is not there yet.
    #[test]
    fn s30_every_route_has_its_roles() {
        let mut found = Vec::new();
        for (method, route) in METHODS
            .into_iter()
            .flat_map(|method| ROUTES.map(|route| (method, route)))
        {
            let path = route
                .replace("{id}", "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11")
                .replace("{process}", "1")
                .replace("{name}", "a%2Fb")
                .replace("{table}", "Invoices")
                .replace("{record}", "close");
            let parsed = Method::from_bytes(method.as_bytes()).unwrap();
            assert!(Role::Admin.may(&parsed, &path));
            if Role::Application.may(&parsed, &path) {
                found.push((method, route));
            }
            let head = Role::Application.may(&Method::HEAD, &path);
            let get = Role::Application.may(&Method::GET, &path);
            assert_eq!(head, get, "{route}");
        }
        for refused in [
            ("GET", path::SESSIONS),
            ("GET", path::SESSION),
            ("DELETE", path::SESSION),
            ("POST", path::DROP),
            ("PATCH", path::OPTIONS),
            ("GET", path::HISTORY),
            ("GET", path::LOCKS),
        ] {
            assert!(!found.contains(&refused), "{refused:?}");
        }
        let mut listed = OF_THE_APPLICATION.to_vec();
        listed.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, listed);
    }

    #[test]
    fn a_path_is_at_one_route() {
        assert!(is_at(path::CLOSE, "/v1/sessions/x/close"));
        for path in [
            "/v1/sessions//close",
            "/v1/sessions/x/close/",
            "/v1/sessions/x/y/close",
            "/v1/sessions/x/Close",
            "/v1/sessions/x%2Fclose",
            "v1/sessions/x/close",
            "",
        ] {
            assert!(!is_at(path::CLOSE, path), "{path}");
        }
    }

    fn request(peer: Option<Peer>, authorization: &[&str]) -> Request {
        let mut request = Request::new(Body::empty());
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        for value in authorization {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().append(AUTHORIZATION, value);
        }
        request
    }

    /// As whom a request counts.
    fn role(peer: Option<Peer>, authorization: &[&str], tokens: &Tokens) -> Result<Role, Error> {
        identify(&request(peer, authorization), tokens).map(|(role, _)| role)
    }

    fn bearer_of(token: &Token) -> String {
        format!("Bearer {}", token.expose())
    }

    #[test]
    fn s27_without_a_token_only_the_owner_of_the_socket_and_root_come_in() {
        let tokens = Tokens::default();
        let me = rustix::process::geteuid().as_raw();
        for uid in [me, 0] {
            let (role, actor) = identify(&request(Some(unix(uid)), &[]), &tokens).unwrap();
            assert_eq!(role, Role::Admin);
            assert_eq!(actor.to_string(), format!("uid:{uid}"));
        }
        for peer in [unix(me + 1), Peer::Unix { uid: None }] {
            let refused = role(Some(peer), &[], &tokens);
            assert!(matches!(refused, Err(Error::Forbidden(_))), "{peer}");
        }
        for peer in [Some(tcp()), None] {
            let refused = role(peer, &[], &tokens);
            assert!(matches!(refused, Err(Error::Unauthenticated)), "{peer:?}");
        }
    }

    #[test]
    fn s30_a_token_says_who_comes_wherever_it_is_presented() {
        let (admin, application) = (Token::mint().unwrap(), Token::mint().unwrap());
        let tokens = Tokens {
            admin: Some(admin.hash()),
            application: Some(application.hash()),
        };
        let (admin, application) = (bearer_of(&admin), bearer_of(&application));
        let other = bearer_of(&Token::mint().unwrap());
        let me = rustix::process::geteuid().as_raw();
        for peer in [Some(tcp()), Some(unix(me)), Some(unix(me + 1)), None] {
            assert_eq!(role(peer, &[&admin], &tokens).unwrap(), Role::Admin);
            let found = role(peer, &[&application], &tokens).unwrap();
            assert_eq!(found, Role::Application);
            let strangers: [&[&str]; 5] = [
                &[&other],
                &["Basic YTpi"],
                &["Bearer"],
                &[&application, &admin],
                &[&application, &application],
            ];
            for presented in strangers {
                let refused = role(peer, presented, &tokens);
                assert!(matches!(refused, Err(Error::Unauthenticated)), "{peer:?}");
            }
            for known in [&admin, &application] {
                let refused = role(peer, &[known], &Tokens::default());
                assert!(matches!(refused, Err(Error::Unauthenticated)), "{peer:?}");
            }
        }
    }

    fn tcp() -> Peer {
        Peer::Tcp("127.0.0.1:1".parse().unwrap())
    }

    fn unix(uid: u32) -> Peer {
        Peer::Unix { uid: Some(uid) }
    }
}
