//! Who may use the admin API, and for what (S26, S27, S30, S31). Over the unix socket: the server's own user and root, as
//! operators, and others by the roles of their groups. Over TCP, in somebody else's router, and wherever a token is presented: whoever has the token, in its role.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use super::answer;
use super::connection::Peer;
use super::places::Network;
use super::{GroupRoles, Shared};
use crate::access::{ADMIN_FILE_TOKEN, APP_FILE_TOKEN, Access, AccessRefusal, Role};
use crate::audit::Actor;
use crate::error::Error;
use crate::session::SessionId;
use crate::token::{Token, TokenHash};
use crate::wire::Route;

/// The tokens that come from files; a role without one has nobody who comes with it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FileTokens {
    pub(super) admin: Option<TokenHash>,
    pub(super) application: Option<TokenHash>,
}

/// What a refused request lacks (RFC 6750, 3.1).
const INSUFFICIENT: &str = "Bearer error=\"insufficient_scope\"";
const INVALID: &str = "Bearer error=\"invalid_token\"";

/// Whoever is let in.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) actor: Actor,
    pub(super) role: Role,
    /// The token of the store that lets in: whoever waits with it waits no longer once it is revoked.
    pub(super) token: Option<TokenHash>,
}

/// Why somebody is not let in.
pub(super) struct Denied {
    pub(super) why: String,
    pub(super) answer: Response,
    /// Who it was, as far as that is known.
    pub(super) source: Actor,
    /// Whether a token was presented that is nobody's.
    pub(super) is_guess: bool,
}

impl Denied {
    /// With what the answer asks for, if anything (RFC 6750, 3).
    fn by(error: &Error, challenge: Option<&'static str>, source: Actor) -> Box<Self> {
        let mut answer = answer::error(error);
        if let Some(challenge) = challenge {
            let challenge = HeaderValue::from_static(challenge);
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        Box::new(Self {
            why: error.to_string(),
            answer,
            source,
            is_guess: false,
        })
    }
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
            parts.extensions.insert(caller);
            return next.run(Request::from_parts(parts, body)).await;
        }
        Ok(Caller { actor, role, .. }) => {
            let error = Error::Forbidden(format!("the role {role} is not enough for this"));
            Denied::by(&error, Some(INSUFFICIENT), actor)
        }
        Err(denied) => denied,
    };
    refuse(&parts, *denied, &shared.service).await
}

/// Lets a request through whose token is still good now that it has come whole: a body can take its time. What an operator
/// does that is an application's is in the audit record before it is answered.
pub(super) async fn still_good<T: Access + 'static>(
    State(shared): State<Arc<Shared<T>>>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(token) = &caller.token {
        let error = match shared.service.identify(token).await {
            Ok(Some(_)) => None,
            Ok(None) => Some(Error::Unauthenticated),
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            let denied = Denied::by(&error, Some(INVALID), caller.actor);
            return refuse(&parts, *denied, &shared.service).await;
        }
    }
    let deed = route_of(&parts)
        .filter(|route| caller.role == Role::Admin && route.is_the_applications())
        .map(|route| (in_words(route), session_of(&parts)));
    let answer = next.run(Request::from_parts(parts, body)).await;
    let Some((request, session)) = deed.filter(|_| answer.status().is_success()) else {
        return answer;
    };
    let recorded = shared
        .service
        .act_as_application(&caller.actor, request, session);
    match recorded.await {
        Ok(()) => answer,
        // It was done: nobody is to be told that nothing was changed.
        Err(error) => answer::error(&Error::Unconfirmed(error.into())),
    }
}

fn route_of(request: &Parts) -> Option<&'static Route> {
    Route::of(request.method.as_str(), request.uri.path())
}

/// The session that a path names.
fn session_of(request: &Parts) -> Option<SessionId> {
    let mut segments = request.uri.path().split('/');
    segments.find_map(|segment| segment.parse().ok())
}

/// What is asked for, and nothing that the caller wrote: it may be a secret in the wrong place, and the record keeps it for good.
fn in_words(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

/// Refuses a request, and keeps account of it.
pub(super) async fn refuse(request: &Parts, denied: Denied, access: &impl Access) -> Response {
    let Denied {
        why,
        answer,
        source,
        is_guess,
    } = denied;
    let unlisted = || "a method that its path does not take".into();
    let refusal = AccessRefusal {
        source,
        request: route_of(request).map_or_else(unlisted, in_words),
        session: session_of(request),
        why,
        is_guess,
    };
    match access.refused(refusal).await {
        Ok(()) => answer,
        Err(too_many) => answer::error(&too_many),
    }
}

/// Whether a role may ask for this. What is not in the table is for nobody to ask for: only an admin is told so.
fn may(role: Role, request: &Parts) -> bool {
    route_of(request).map_or(role == Role::Admin, |route| route.is_for(role))
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
        None => {
            let text = format!(
                "{actor} may not use this admin socket; its owner and root may, and groups that the server's file gives a role"
            );
            Err(Denied::by(&Error::Forbidden(text), None, actor))
        }
    }
}

async fn by_token<T: Access>(
    request: &Parts,
    shared: &Shared<T>,
    presents: bool,
) -> Result<Caller, Box<Denied>> {
    let peer = request.extensions.get::<Peer>();
    let denied = |error: Error| {
        let challenge = presents.then_some(INVALID);
        Box::new(Denied {
            is_guess: presents,
            ..*Denied::by(&error, challenge, stranger(peer))
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
        // Nobody guessed who could not be judged.
        Err(error) => Err(Denied::by(&error, None, stranger(peer))),
    }
}

/// Who comes without a name: of an address, its network, of which one customer has all.
pub(super) fn stranger(peer: Option<&Peer>) -> Actor {
    let who = match peer {
        Some(Peer::Unix { uid: Some(uid), .. }) => Actor::user(*uid),
        Some(Peer::Unix { uid: None, .. }) => Actor::unknown("unix"),
        Some(Peer::Tcp(address)) => Actor::unknown(&Network::of(address.ip()).to_string()),
        None => Actor::unknown("unknown"),
    };
    who.coming(via(peer))
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

        async fn act_as_application(
            &self,
            _: &Actor,
            _: String,
            _: Option<SessionId>,
        ) -> Result<(), Error> {
            Ok(())
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
                    tls: None,
                    waiting: Waiting::until(None),
                },
                admin: bearer_of(&admin),
                application: bearer_of(&application),
                closer: bearer_of(&closer),
            }
        }

        async fn caller(&self, peer: Option<Peer>, authorization: &[&str]) -> Result<Caller, u16> {
            let (mut parts, _) = Request::new(Body::empty()).into_parts();
            if let Some(peer) = peer {
                parts.extensions.insert(peer);
            }
            for value in authorization {
                let value = HeaderValue::from_str(value).unwrap();
                parts.headers.append(AUTHORIZATION, value);
            }
            let caller = identify(&parts, &self.shared).await;
            caller.map_err(|denied| denied.answer.status().as_u16())
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
            assert_eq!(refused.err(), Some(403), "{peer}");
        }
        let of_the_group = Peer::Unix {
            uid: Some(me + 1),
            gid: Some(4_242),
        };
        let caller = site.caller(Some(of_the_group), &[]).await.unwrap();
        assert_eq!(caller.role, Role::Viewer);
        for peer in [Some(tcp()), None] {
            let refused = site.caller(peer, &[]).await;
            assert_eq!(refused.err(), Some(401), "{peer:?}");
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
                assert_eq!(refused.err(), Some(401), "{peer:?}");
            }
        }
        site.shared.tokens = FileTokens::default();
        for (token, role, _) in &known[..2] {
            let refused = site.caller(Some(tcp()), &[token]).await;
            assert_eq!(refused.err(), Some(401), "{role}");
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
