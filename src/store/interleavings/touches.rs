//! The last requests that are written now and then: none is lost (C17).

use super::*;
use crate::store::Use;
use crate::store::live::LiveSet;
use crate::store::memory::SharedLive;
use std::collections::HashMap;

/// The live set with sessions in it, and no store around it.
fn with_sessions(count: u8) -> Arc<SharedLive> {
    let mut live = LiveSet::new(with(&[]));
    for number in 1..=count {
        let prepared = live.prepare(newcomer(number, Kind::Web), at(0));
        live.publish(&prepared.rows);
    }
    Arc::new(SharedLive::new(live))
}

/// Writes what is taken, as the disk does.
fn write(live: &SharedLive, written: &mut HashMap<u64, Timestamp>) {
    // Not in the guard's lifetime: the disk works without the lock.
    let touches = live.read().unwrap().take_touches();
    assert!(
        touches.is_sorted_by(|one, next| one.0 < next.0),
        "twice in one write"
    );
    written.extend(touches.into_iter().map(|(seq, at)| (seq.0, at)));
}

#[test]
fn c17_no_last_request_is_lost_between_two_writes() {
    explore(|| {
        let live = with_sessions(2);
        let visits = [[(1, 5), (2, 6)], [(2, 7), (1, 8)]].map(|visits| {
            let live = Arc::clone(&live);
            thread::spawn(move || {
                for (number, second) in visits {
                    let live = live.read().unwrap();
                    let seen = live.visit(&token(number), Use::Request, None, at(second));
                    assert!(is_live(&seen.what));
                }
            })
        });
        let mut written = HashMap::new();
        write(&live, &mut written);
        write(&live, &mut written);
        for visit in visits {
            visit.join().unwrap();
        }
        write(&live, &mut written);
        // The sessions have the rows 1 and 2.
        assert_eq!(written, HashMap::from([(1, at(8)), (2, at(7))]));
        write(&live, &mut written);
    });
}

#[test]
fn c12_an_earlier_request_that_comes_later_does_not_shorten_a_session() {
    in_all_orders(&[], |place| {
        let idle = seconds(with(&[]).options().inactive_session_timeout);
        open(place, 1, at(0));
        let other = meanwhile(place, |place| place.visit(&token(1), Use::Request, at(9)));
        let own = place.visit(&token(1), Use::Request, at(4));
        assert!(is_live(&own) && is_live(&other.join().unwrap()));
        let Found::Open(session, None, _) = place.find(id(1), at(9)) else {
            panic!("it is open");
        };
        assert_eq!(session.expires_at, Some(at(9 + idle)));
    });
}
