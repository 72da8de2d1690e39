//! Who may use the admin API, and for what (S26, S27, S30). Over the unix socket: the server's own user and root, as operators.
//! Over TCP, in somebody else's router, and wherever a token is presented: whoever has the token, in its role.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::Response;

use super::Shared;
use super::answer;
use super::connection::Peer;
use crate::access::Role;
use crate::admin::Actor;
use crate::error::Error;
use crate::token::{Token, TokenHash};
use crate::wire::Route;

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
        Ok((role, actor)) if may(role, &request) => {
            request.extensions_mut().insert(actor);
            return next.run(request).await;
        }
        Ok((role, _)) => {
            let text = format!("the role {role} is not enough for this");
            (Error::Forbidden(text), true)
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

/// Whether a role may ask for this. What is not in the table is for nobody to ask for: only an admin is told so.
fn may(role: Role, request: &Request) -> bool {
    let route = Route::of(request.method().as_str(), request.uri().path());
    route.map_or(role == Role::Admin, |route| route.is_for(role))
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
        Ok((Role::App, Actor::application()))
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
            assert_eq!(found, Role::App);
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
