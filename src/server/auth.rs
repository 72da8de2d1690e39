//! Who may use the admin API, and for what (S26, S27, S30, S31). Over the unix socket: the server's own user and root, as
//! operators, and others by the roles of their groups. Over TCP, in somebody else's router, and wherever a token is presented: whoever has the token, in its role.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use super::answer;
use super::connection::Peer;
use super::{GroupRoles, Shared};
use crate::access::{ADMIN_FILE_TOKEN, APP_FILE_TOKEN, Access, AccessRefusal, Role};
use crate::audit::Actor;
use crate::error::Error;
use crate::token::{Token, TokenHash};
use crate::wire::Route;

/// The tokens that come from files; a role without one has nobody who comes with it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FileTokens {
    pub(super) admin: Option<TokenHash>,
    pub(super) application: Option<TokenHash>,
}

/// Whoever is let in.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) actor: Actor,
    pub(super) role: Role,
    /// The token of the store that lets in: whoever waits with it waits no longer once it is revoked.
    pub(super) token: Option<TokenHash>,
}

/// Why somebody is not let in.
struct Denied {
    error: Error,
    /// What the answer asks for (RFC 6750, 3).
    challenge: Option<&'static str>,
    /// Who it was, as far as that is known.
    source: Actor,
    is_guess: bool,
}

/// Lets a request through as its [`Caller`], or refuses it.
pub(super) async fn authenticate<T: Access + 'static>(
    State(shared): State<Arc<Shared<T>>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let denied = match identify(&parts, &shared).await {
        Ok(caller) if may(caller.role, &parts) => {
            parts.extensions.insert(caller.actor.clone());
            parts.extensions.insert(caller);
            return next.run(Request::from_parts(parts, body)).await;
        }
        Ok(Caller { actor, role, .. }) => Denied {
            error: Error::Forbidden(format!("the role {role} is not enough for this")),
            challenge: Some("Bearer error=\"insufficient_scope\""),
            source: actor,
            is_guess: false,
        },
        Err(denied) => *denied,
    };
    refuse(&parts, denied, &shared.service).await
}

async fn refuse(request: &Parts, denied: Denied, access: &impl Access) -> Response {
    let Denied {
        error,
        challenge,
        source,
        is_guess,
    } = denied;
    let (method, path) = (request.method.as_str(), request.uri.path());
    let via = source.via().unwrap_or_default();
    tracing::warn!(%source, via, method, path, "admin request refused: {error}");
    // Nobody was refused who could not be judged.
    if matches!(error, Error::Unavailable(_)) {
        return answer::error(&error);
    }
    let refusal = AccessRefusal {
        source,
        request: format!("{method} {path}"),
        is_guess,
    };
    if let Err(too_many) = access.refused(refusal).await {
        return answer::error(&too_many);
    }
    let mut response = answer::error(&error);
    if let Some(challenge) = challenge {
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Whether a role may ask for this. What is not in the table is for nobody to ask for: only an admin is told so.
fn may(role: Role, request: &Parts) -> bool {
    let route = Route::of(request.method.as_str(), request.uri.path());
    route.map_or(role == Role::Admin, |route| route.is_for(role))
}

async fn identify<T: Access>(request: &Parts, shared: &Shared<T>) -> Result<Caller, Box<Denied>> {
    let presents = request.headers.contains_key(AUTHORIZATION);
    match request.extensions.get::<Peer>() {
        // Who presents a token wants to be no more than it makes of them.
        Some(Peer::Unix { uid, gid }) if !presents => {
            by_user(*uid, *gid, &shared.group_roles).await
        }
        Some(Peer::Unix { .. } | Peer::Tcp(_)) | None => by_token(request, shared, presents).await,
    }
}

/// The way that a request came, for the record.
fn via(peer: Option<&Peer>) -> String {
    match peer {
        Some(Peer::Unix { .. }) => "unix".into(),
        Some(Peer::Tcp(address)) => format!("tcp {}", address.ip().to_canonical()),
        None => "tcp".into(),
    }
}

async fn by_user(
    uid: Option<u32>,
    gid: Option<u32>,
    groups: &GroupRoles,
) -> Result<Caller, Box<Denied>> {
    let me = rustix::process::geteuid().as_raw();
    let role = match uid {
        Some(uid) if uid == me || uid == 0 => Some(Role::Admin),
        Some(uid) => groups.role_of(uid, gid).await,
        None => None,
    };
    let actor = uid.map_or_else(|| Actor::unknown("unix"), Actor::user);
    let actor = actor.coming("unix");
    match role {
        Some(role) => Ok(Caller {
            actor,
            role,
            token: None,
        }),
        None => Err(Box::new(Denied {
            error: Error::Forbidden(format!(
                "{actor} may not use this admin socket; its owner and root may, and groups that the server's file gives a role"
            )),
            challenge: None,
            source: actor,
            is_guess: false,
        })),
    }
}

async fn by_token<T: Access>(
    request: &Parts,
    shared: &Shared<T>,
    presents: bool,
) -> Result<Caller, Box<Denied>> {
    let peer = request.extensions.get::<Peer>();
    let denied = |error| {
        Box::new(Denied {
            error,
            challenge: presents.then_some("Bearer error=\"invalid_token\""),
            source: stranger(peer).coming(via(peer)),
            is_guess: presents,
        })
    };
    let presented = bearer(request).ok_or_else(|| denied(Error::Unauthenticated))?;
    let presented = presented.hash();
    let caller = |name: &str, role, token| Caller {
        actor: Actor::token(name).coming(via(peer)),
        role,
        token,
    };
    let is = |known: Option<TokenHash>| known.is_some_and(|known| known.matches(&presented));
    if is(shared.tokens.admin) {
        return Ok(caller(ADMIN_FILE_TOKEN, Role::Admin, None));
    }
    if is(shared.tokens.application) {
        return Ok(caller(APP_FILE_TOKEN, Role::App, None));
    }
    match shared.service.identify(&presented).await {
        Ok(Some(grant)) => Ok(caller(grant.name.as_str(), grant.role, Some(presented))),
        Ok(None) => Err(denied(Error::Unauthenticated)),
        Err(error) => Err(denied(error)),
    }
}

/// Who comes without a name.
fn stranger(peer: Option<&Peer>) -> Actor {
    match peer {
        Some(Peer::Unix { uid: Some(uid), .. }) => Actor::user(*uid),
        Some(Peer::Unix { uid: None, .. }) => Actor::unknown("unix"),
        Some(Peer::Tcp(address)) => Actor::unknown(&address.ip().to_canonical().to_string()),
        None => Actor::unknown("unknown"),
    }
}

fn bearer(request: &Parts) -> Option<Token> {
    let mut values = request.headers.get_all(AUTHORIZATION).iter();
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
    use crate::access::Grant;
    use crate::server::TrustedProxies;
    use crate::server::waiting::Waiting;

    /// Whose token lets in whom.
    struct Known(TokenHash, Grant);

    impl Access for Known {
        async fn identify(&self, token: &TokenHash) -> Result<Option<Grant>, Error> {
            Ok((self.0 == *token).then(|| self.1.clone()))
        }

        async fn until_gone(&self, _: TokenHash) {
            std::future::pending().await
        }

        async fn refused(&self, _: AccessRefusal) -> Result<(), Error> {
            Ok(())
        }
    }

    /// A server with both tokens of files, and one of the store.
    struct Site {
        shared: Shared<Known>,
        admin: String,
        application: String,
        closer: String,
    }

    impl Site {
        fn new() -> Self {
            let [admin, application, closer] = [(); 3].map(|()| Token::mint().unwrap());
            let grant = Grant {
                name: "ci".parse().unwrap(),
                role: Role::Closer,
            };
            Self {
                shared: Shared {
                    service: Known(closer.hash(), grant),
                    trusted_proxies: TrustedProxies::default(),
                    tokens: FileTokens {
                        admin: Some(admin.hash()),
                        application: Some(application.hash()),
                    },
                    group_roles: GroupRoles::new([(4_242, Role::Viewer)]),
                    waiting: Waiting::until(None),
                },
                admin: bearer_of(&admin),
                application: bearer_of(&application),
                closer: bearer_of(&closer),
            }
        }

        async fn caller(
            &self,
            peer: Option<Peer>,
            authorization: &[&str],
        ) -> Result<Caller, Error> {
            let (mut parts, _) = Request::new(Body::empty()).into_parts();
            if let Some(peer) = peer {
                parts.extensions.insert(peer);
            }
            for value in authorization {
                let value = HeaderValue::from_str(value).unwrap();
                parts.headers.append(AUTHORIZATION, value);
            }
            let caller = identify(&parts, &self.shared).await;
            caller.map_err(|denied| denied.error)
        }
    }

    fn bearer_of(token: &Token) -> String {
        format!("Bearer {}", token.expose())
    }

    #[tokio::test]
    async fn s27_without_a_token_only_the_owner_of_the_socket_and_root_come_in() {
        let site = Site::new();
        let me = rustix::process::geteuid().as_raw();
        for uid in [me, 0] {
            let caller = site.caller(Some(unix(uid)), &[]).await.unwrap();
            assert_eq!(caller.role, Role::Admin);
            assert_eq!(caller.actor, Actor::user(uid).coming("unix"));
        }
        let nobody = Peer::Unix {
            uid: None,
            gid: None,
        };
        for peer in [unix(me + 1), nobody] {
            let refused = site.caller(Some(peer), &[]).await;
            assert!(matches!(refused, Err(Error::Forbidden(_))), "{peer}");
        }
        let of_the_group = Peer::Unix {
            uid: Some(me + 1),
            gid: Some(4_242),
        };
        let caller = site.caller(Some(of_the_group), &[]).await.unwrap();
        assert_eq!(caller.role, Role::Viewer);
        for peer in [Some(tcp()), None] {
            let refused = site.caller(peer, &[]).await;
            assert!(matches!(refused, Err(Error::Unauthenticated)), "{peer:?}");
        }
    }

    #[tokio::test]
    async fn s30_a_token_says_who_comes_wherever_it_is_presented() {
        let mut site = Site::new();
        let known = [
            (site.admin.clone(), Role::Admin, "token:admin"),
            (site.application.clone(), Role::App, "token:app"),
            (site.closer.clone(), Role::Closer, "token:ci"),
        ];
        let other = bearer_of(&Token::mint().unwrap());
        let me = rustix::process::geteuid().as_raw();
        for peer in [Some(tcp()), Some(unix(me)), Some(unix(me + 1)), None] {
            for (token, role, name) in &known {
                let caller = site.caller(peer, &[token]).await.unwrap();
                assert_eq!((caller.role, caller.actor.as_str()), (*role, *name));
                assert_eq!(caller.token.is_some(), *role == Role::Closer);
            }
            let strangers: [&[&str]; 5] = [
                &[&other],
                &["Basic YTpi"],
                &["Bearer"],
                &[&site.application, &site.admin],
                &[&site.application, &site.application],
            ];
            for presented in strangers {
                let refused = site.caller(peer, presented).await;
                assert!(matches!(refused, Err(Error::Unauthenticated)), "{peer:?}");
            }
        }
        site.shared.tokens = FileTokens::default();
        for (token, role, _) in &known[..2] {
            let refused = site.caller(Some(tcp()), &[token]).await;
            assert!(matches!(refused, Err(Error::Unauthenticated)), "{role}");
        }
    }

    fn tcp() -> Peer {
        Peer::Tcp("127.0.0.1:1".parse().unwrap())
    }

    fn unix(uid: u32) -> Peer {
        Peer::Unix {
            uid: Some(uid),
            gid: None,
        }
    }
}
