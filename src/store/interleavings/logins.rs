//! A log-in replaces the token: the old one or the new one is good, never both, and neither after a closing (S08).

use super::*;
use crate::audit::Actor;
use crate::store::Use;
use crate::store::record::Row;

/// Signs a user in, who is named after the token.
fn log_in(place: &Place, number: u8) -> Applied {
    let change = Change::LogIn {
        id: id(1),
        user: user(number).into(),
        token_hash: token(number),
        actor: Actor::server(),
    };
    let applied = place.apply(change, at(1));
    if matches!(applied, Applied::LoggedIn(..)) {
        assert!(is_kept(place, number), "answered before it is on disk");
    }
    applied
}

fn user(number: u8) -> String {
    format!("user-{number}")
}

fn is_kept(place: &Place, number: u8) -> bool {
    place.is_kept(&|row| matches!(row, Row::LoggedIn { new, .. } if *new == token(number)))
}

fn look(place: &Place, number: u8) -> Seen {
    place.visit(&token(number), Use::Request, at(1))
}

#[test]
fn s08_the_old_token_or_the_new_one() {
    in_all_orders(&[], |place| {
        open(place, 1, at(0));
        let answered = Flag::default();
        let seen_by = answered.clone();
        let visits = meanwhile(place, move |place| {
            let is_over = seen_by.is_up();
            let new = look(place, 2);
            // Before anything else is asked, which might wait for the disk.
            assert!(
                !is_live(&new) || is_kept(place, 2),
                "good before it is on disk"
            );
            let old = look(place, 1);
            assert!(!(is_live(&new) && is_live(&old)), "both are good");
            if is_over {
                assert_eq!(old, Seen::Rotated);
                assert!(is_live(&new), "none is good");
            }
            if old == Seen::Rotated {
                assert!(is_kept(place, 2), "told before it is on disk");
                assert!(is_live(&look(place, 2)), "none is good");
            }
        });
        assert!(matches!(log_in(place, 2), Applied::LoggedIn(..)));
        answered.raise();
        visits.join().unwrap();
        assert_eq!(look(place, 1), Seen::Rotated);
        assert!(is_live(&look(place, 2)));
    });
}

#[test]
fn s08_of_two_log_ins_one_wins() {
    in_all_orders(&[], |place| {
        open(place, 1, at(0));
        let other = meanwhile(place, |place| log_in(place, 3));
        let visits = meanwhile(place, |place| {
            let good: Vec<u8> = [1, 2, 3, 2, 1]
                .into_iter()
                .filter(|number| is_live(&look(place, *number)))
                .collect();
            // From one to the next, and never back.
            let mut order = good.clone();
            order.dedup();
            let mut once = order.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(order.len(), once.len(), "{good:?}");
            assert!(order.iter().position(|number| *number == 1) != Some(1));
        });
        let own = log_in(place, 2);
        for applied in [own, other.join().unwrap()] {
            assert!(matches!(applied, Applied::LoggedIn(..)), "{applied:?}");
        }
        visits.join().unwrap();
        let seen = [1, 2, 3].map(|number| look(place, number));
        assert_eq!(seen[0], Seen::Rotated);
        let (good, replaced) = match is_live(&seen[1]) {
            true => (2, &seen[2]),
            false => (3, &seen[1]),
        };
        assert_eq!(*replaced, Seen::Rotated);
        let Seen::Live(visit) = look(place, good) else {
            panic!("{seen:?}");
        };
        assert_eq!(visit.user.as_deref(), Some(user(good).as_str()));
    });
}

#[test]
fn s08_no_token_outlives_a_closing() {
    for is_drop in [false, true] {
        in_all_orders(&[], move |place| {
            open(place, 1, at(0));
            let ended = Flag::default();
            let (for_log_in, for_visits) = (ended.clone(), ended.clone());
            let signing_in = meanwhile(place, move |place| {
                let is_over = for_log_in.is_up();
                let applied = log_in(place, 2);
                let is_in = matches!(applied, Applied::LoggedIn(..));
                let is_refused =
                    matches!(applied, Applied::Unfit(Unfit::Closing | Unfit::Closed(_)));
                assert!(is_refused || (is_in && !is_over), "{applied:?}");
            });
            let visits = meanwhile(place, move |place| {
                let is_over = for_visits.is_up();
                let seen = [2, 1].map(|number| is_live(&look(place, number)));
                assert_ne!(seen, [true, true], "both are good");
                assert!(!is_over || seen == [false, false], "one outlived it");
            });
            let change = match is_drop {
                false => Change::BeginClose(end(1, None)),
                true => Change::Drop(end(1, None)),
            };
            assert_eq!(end_by(place, change, at(1)).0, Part::Began);
            ended.raise();
            for _ in 0..2 {
                assert_eq!(
                    [1, 2].map(|number| is_live(&look(place, number))),
                    [false; 2]
                );
            }
            finish(place, 1, at(1));
            signing_in.join().unwrap();
            visits.join().unwrap();
            assert_eq!(
                [1, 2].map(|number| is_live(&look(place, number))),
                [false; 2]
            );
        });
    }
}
