//! Who closes, drops and expires a session at once, and who comes with its cookie meanwhile.

use super::*;
use crate::session::State;
use crate::store::Use;
use crate::store::record::Row;

fn is_begin(row: &Row) -> bool {
    matches!(row, Row::Begun { .. } | Row::Dropped { .. })
}

/// Refuses what a session that ends must not show: a cookie that is good again, and an answer that a crash takes back.
fn visit_twice(place: &Place, ended: &Flag) {
    let mut was_refused = false;
    for _ in 0..2 {
        let is_over = was_refused || ended.is_up();
        let seen = place.visit(&token(1), Use::Request, at(1));
        assert!(!(is_over && is_live(&seen)), "its cookie is good again");
        if !is_live(&seen) {
            assert_eq!(seen, Seen::Nobody);
            assert!(place.is_kept(&is_begin), "told before it is on disk");
            was_refused = true;
        }
    }
}

/// What a list shows of a session, in the order in which it may.
fn stage(place: &Place) -> u8 {
    match place.list(at(1)).as_slice() {
        [] => 2,
        [session] => u8::from(session.state == State::Closing),
        sessions => panic!("{sessions:?}"),
    }
}

fn look_twice(place: &Place, ended: &Flag) {
    let mut last = 0;
    for _ in 0..2 {
        let least = last.max(u8::from(ended.is_up()));
        let now = stage(place);
        assert!(now >= least, "the list shows it as it was before");
        last = now;
    }
}

#[test]
fn c16_no_request_in_flight_brings_a_closed_session_back() {
    in_all_orders(&[], |place| {
        open(place, 1, at(0));
        let ended = Flag::default();
        let (for_visits, for_looks) = (ended.clone(), ended.clone());
        let visits = meanwhile(place, move |place| visit_twice(place, &for_visits));
        let looks = meanwhile(place, move |place| look_twice(place, &for_looks));
        let (part, _) = close(place, 1, at(1));
        ended.raise();
        assert_eq!(part, Part::Began);
        assert!(place.is_kept(&is_begin), "answered before it is on disk");
        finish(place, 1, at(1));
        assert_eq!(stage(place), 2);
        visits.join().unwrap();
        looks.join().unwrap();
        assert_eq!(stage(place), 2);
        assert!(matches!(place.find(id(1), at(1)), Found::Closed(..)));
    });
}

#[test]
fn c15_exactly_one_call_begins_a_closing() {
    in_all_orders(&[], |place| {
        open(place, 1, at(0));
        let begin = |request: u128| {
            move |place: &Place| {
                let change = Change::BeginClose(end(1, Some(request)));
                let (part, found) = end_by(place, change, at(1));
                assert!(place.is_kept(&is_begin), "answered before it is on disk");
                assert!(!matches!(found, Found::Open(_, None, _)), "{found:?}");
                // A retry is told the same, whatever has come of it meanwhile.
                let retry = Change::BeginClose(end(1, Some(request)));
                assert_eq!(end_by(place, retry, at(2)).0, part);
                part
            }
        };
        let others = [1, 2].map(|request| meanwhile(place, begin(request)));
        let own = begin(3)(place);
        finish(place, 1, at(2));
        let mut parts = others.map(|other| other.join().unwrap()).to_vec();
        parts.push(own);
        let began = parts.iter().filter(|part| **part == Part::Began).count();
        assert_eq!(began, 1, "{parts:?}");
    });
}

#[test]
fn c15_a_closing_that_is_dropped_was_begun_once() {
    in_all_orders(&[], |place| {
        open(place, 1, at(0));
        let ended = Flag::default();
        let (for_drop, for_visits) = (ended.clone(), ended.clone());
        let dropper = meanwhile(place, move |place| {
            let (part, found) = end_by(place, Change::Drop(end(1, None)), at(1));
            for_drop.raise();
            assert!(matches!(found, Found::Closed(..)), "{found:?}");
            assert_eq!(stage(place), 2);
            part
        });
        let visits = meanwhile(place, move |place| visit_twice(place, &for_visits));
        let (close, _) = close(place, 1, at(1));
        ended.raise();
        // A run that ends too late changes nothing.
        finish(place, 1, at(1));
        visits.join().unwrap();
        let parts = (close, dropper.join().unwrap());
        let is_once = matches!(
            parts,
            (Part::Began, Part::CutShort | Part::None) | (Part::None, Part::Began)
        );
        assert!(is_once, "{parts:?}");
        assert!(matches!(place.find(id(1), at(1)), Found::Closed(..)));
        assert_eq!(stage(place), 2);
    });
}

#[test]
fn c15_what_is_due_is_begun_by_the_sweep_or_by_an_operator() {
    in_all_orders(&[("inactive_session_timeout", "1m")], |place| {
        let session = open(place, 1, at(0));
        let due = session.expires_at.unwrap();
        let sweeps = [(); 2].map(|()| meanwhile(place, move |place| expire(place, due)));
        let (part, found) = close(place, 1, due);
        let swept: usize = sweeps.map(|sweep| sweep.join().unwrap().len()).iter().sum();
        assert_eq!(swept + usize::from(part == Part::Began), 1);
        let expected = match part {
            Part::Began => Cause::Command,
            _ => Cause::Inactive,
        };
        let Found::Open(_, Some(cause), _) = found else {
            panic!("{found:?}");
        };
        assert_eq!(cause, expected);
    });
}
