//! A request against the sweep, and against a newcomer that needs its room: one of both is refused (C10, C12).

use super::*;
use crate::store::Use;
use crate::store::record::Row;

fn visit(place: &Place, number: u8, now: Timestamp) -> bool {
    is_live(&place.visit(&token(number), Use::Request, now))
}

#[test]
fn c12_a_session_that_is_touched_in_time_does_not_expire_and_an_expired_one_is_refused() {
    in_all_orders(&[("inactive_session_timeout", "1m")], |place| {
        let session = open(place, 1, at(0));
        let due = session.expires_at.unwrap();
        let in_time = Timestamp::from_millis(due.as_millis() - 1);
        let early = meanwhile(place, move |place| {
            let first = visit(place, 1, in_time);
            let second = visit(place, 1, in_time);
            assert_eq!(first, second, "its cookie is good again, or not any more");
            first
        });
        let late = meanwhile(place, move |place| visit(place, 1, due));
        let expired = expire(place, due);
        let (was_touched, was_good_later) = (early.join().unwrap(), late.join().unwrap());
        assert_eq!(expired.is_empty(), was_touched);
        assert!(was_touched || !was_good_later, "good when it was due");
        assert_eq!(visit(place, 1, due), was_touched);
        assert!(was_touched || !visit(place, 1, in_time));
        // Its lower bound is put back where it belongs: the sweep finds it again.
        if was_touched {
            let due = Timestamp::from_millis(due.as_millis() + 60_000);
            assert_eq!(expire(place, due), [id(1)]);
        }
    });
}

#[test]
fn c10_the_victim_is_refused_or_the_newcomer_is() {
    in_all_orders(&[("max_sessions", "1")], |place| {
        open(place, 1, at(0));
        let now = at(60);
        let request = meanwhile(place, move |place| {
            let was_good = visit(place, 1, now);
            assert_eq!(visit(place, 1, now), was_good);
            let is_begin = |row: &Row| matches!(row, Row::Begun { .. });
            assert!(was_good || place.is_kept(&is_begin), "told too early");
            was_good
        });
        let opened = match place.apply(newcomer(2, Kind::Web), now) {
            Applied::Opened(_, made) => {
                assert_eq!(made.evicted, [id(1)]);
                true
            }
            Applied::Full { limit: 1, .. } => false,
            applied => panic!("{applied:?}"),
        };
        let was_good = request.join().unwrap();
        assert_ne!(opened, was_good);
        assert_eq!(
            [1, 2].map(|number| visit(place, number, now)),
            [was_good, opened]
        );
    });
}

#[test]
fn c10_two_newcomers_do_not_get_one_place() {
    in_all_orders(&[("max_sessions", "1")], |place| {
        open(place, 1, at(0));
        let now = at(60);
        let come = move |place: &Place, number: u8| {
            let applied = place.apply(newcomer(number, Kind::Web), now);
            let opened = matches!(applied, Applied::Opened(..));
            assert_eq!(visit(place, number, now), opened);
            opened
        };
        let other = meanwhile(place, move |place| come(place, 3));
        let looks = meanwhile(place, move |place| {
            let seen = [2, 3].map(|number| visit(place, number, now));
            assert_ne!(seen, [true, true], "both are open");
            let is_open = |row: &Row| matches!(row, Row::Opened(record) if record.id != id(1));
            let is_told = seen.contains(&true) || place.list(now).iter().any(|one| one.id != id(1));
            assert!(
                !is_told || place.is_kept(&is_open),
                "shown before it is on disk"
            );
        });
        let own = come(place, 2);
        assert_ne!(own, other.join().unwrap());
        looks.join().unwrap();
        assert!(!visit(place, 1, now));
    });
}
