//! Which role the groups of this machine have on the admin socket (S27): from the server's file alone (S50).

use std::ffi::CString;
use std::sync::Arc;

use nix::unistd::{Gid, Uid, User, getgrouplist};

use crate::access::Role;

/// Groups by their number, each with its role; nobody's unless it says so.
#[derive(Clone, Debug, Default)]
pub struct GroupRoles(Arc<[(u32, Role)]>);

/// Whoever is in groups of several roles has the first of these.
const PRECEDENCE: [Role; 4] = [Role::Admin, Role::Closer, Role::Viewer, Role::App];

impl GroupRoles {
    /// The roles of these groups.
    pub fn new(groups: impl IntoIterator<Item = (u32, Role)>) -> Self {
        Self(groups.into_iter().collect())
    }

    /// Whether any group has a role.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The role of a user who connects with this group of its own. Asks the machine's user database, which may be slow.
    pub(super) async fn role_of(&self, uid: u32, gid: Option<u32>) -> Option<Role> {
        if self.is_empty() {
            return None;
        }
        let groups = self.clone();
        let found = tokio::task::spawn_blocking(move || groups.among(&groups_of(uid, gid)));
        // A look-up that panicked lets nobody in.
        found.await.ok().flatten()
    }

    fn among(&self, gids: &[u32]) -> Option<Role> {
        let has = |role: &Role| {
            let mut named = self.0.iter();
            named.any(|(gid, named)| named == role && gids.contains(gid))
        };
        PRECEDENCE.into_iter().find(has)
    }
}

/// The groups that the user database gives a user, and the one that it connects with.
fn groups_of(uid: u32, gid: Option<u32>) -> Vec<u32> {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let listed = user.and_then(|user| {
        let name = CString::new(user.name).ok()?;
        getgrouplist(&name, user.gid).ok()
    });
    let listed = listed.unwrap_or_default();
    listed.into_iter().map(Gid::as_raw).chain(gid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s27_groups_have_the_role_that_the_file_gives_them() {
        let groups = GroupRoles::new([(10, Role::Viewer), (20, Role::Closer), (30, Role::App)]);
        for (of, role) in [
            (&[][..], None),
            (&[7], None),
            (&[10], Some(Role::Viewer)),
            (&[10, 20], Some(Role::Closer)),
            (&[30, 10], Some(Role::Viewer)),
            (&[7, 30], Some(Role::App)),
        ] {
            assert_eq!(groups.among(of), role, "{of:?}");
        }
        assert_eq!(GroupRoles::default().among(&[0, 10]), None);
    }

    #[test]
    fn roots_groups_are_those_of_the_user_database() {
        assert!(groups_of(0, None).contains(&0));
        assert_eq!(groups_of(u32::MAX - 7, Some(5)), [5]);
    }
}
