//! A record lock that is handed over while those who wait give up, or their processes end: never two holders, and never a
//! lock that nobody has and nobody gets. A waiter that waits for ever is a deadlock, which fails the run.

use shuttle::future::block_on;

use super::*;
use crate::context::{Lock, Name, Record};
use crate::store::record::Row;
use crate::store::{Place as Standing, Ticket};

fn record() -> Record {
    Record {
        table: Name::new("Invoices").unwrap(),
        record: Name::new("4711").unwrap(),
    }
}

/// Asks for the lock, with a place in the queue if another has it.
fn ask(place: &Place, at_process: At, ticket: &Arc<Ticket>) -> Option<Standing> {
    let change = Change::Lock(at_process, record(), Some(Arc::clone(ticket)));
    match place.apply(change, at(1)) {
        Applied::Locked(lock) => Some(Standing::Granted(lock)),
        Applied::Queued => None,
        Applied::Unfit(Unfit::Closing | Unfit::Closed(_) | Unfit::ProcessClosing) => {
            Some(Standing::Refused)
        }
        applied => panic!("{applied:?}"),
    }
}

/// Waits for the lock until it comes, or never can.
fn wait(place: &Place, number: u8) -> Option<Lock> {
    let ticket = Arc::default();
    let standing = ask(place, first_of(number), &ticket);
    match standing.unwrap_or_else(|| block_on(ticket.called())) {
        Standing::Granted(lock) => {
            let is_meant = |row: &Row| row.seq().0 == lock.fence;
            assert!(place.is_kept(&is_meant), "told before it is on disk");
            Some(lock)
        }
        Standing::Refused => None,
        standing => panic!("{standing:?}"),
    }
}

/// Asks for the lock and goes away before it is told, as a request does whose client is gone.
fn ask_and_go_away(place: &Place, number: u8) {
    let ticket = Arc::default();
    ask(place, first_of(number), &ticket);
    thread::yield_now();
    give_up(place, number, &ticket);
}

fn give_up(place: &Place, number: u8, ticket: &Ticket) {
    if ticket.give_up() {
        assert_eq!(ticket.place(), Standing::GivenUp);
    } else if let Standing::Granted(lock) = block_on(ticket.called()) {
        unlock(place, number, Some(lock.fence));
    }
}

fn unlock(place: &Place, number: u8, fence: Option<u64>) {
    let change = Change::Unlock(first_of(number), record(), fence);
    assert!(matches!(place.apply(change, at(1)), Applied::Done));
}

/// Sessions 1 to 3; the first has the lock.
fn with_a_holder(place: &Place) -> Lock {
    for number in 1..=3 {
        open(place, number, at(0));
    }
    wait(place, 1).unwrap()
}

/// Only one works on the record at a time. Seen by the others without giving the scheduler a turn.
#[derive(Clone, Default)]
struct Work(Flag);

impl Work {
    fn do_alone(&self) {
        assert!(!self.0.is_up(), "two holders");
        self.0.raise();
        thread::yield_now();
        self.0.lower();
    }
}

fn holders(place: &Place) -> Vec<(SessionId, u64)> {
    let held = place.locks().into_iter();
    held.map(|lock| (lock.session, lock.fence)).collect()
}

#[test]
fn a_lock_has_one_holder_at_a_time_and_goes_to_all_who_wait() {
    in_all_orders(&[], |place| {
        with_a_holder(place);
        let work = Work::default();
        let others = [2, 3].map(|number| {
            let work = work.clone();
            meanwhile(place, move |place| {
                let lock = wait(place, number).unwrap();
                work.do_alone();
                unlock(place, number, None);
                lock.fence
            })
        });
        work.do_alone();
        unlock(place, 1, None);
        let fences = others.map(|other| other.join().unwrap());
        assert_ne!(fences[0], fences[1]);
        assert_eq!(holders(place), []);
    });
}

#[test]
fn a_lock_goes_past_who_gives_up() {
    in_all_orders(&[], |place| {
        let first = with_a_holder(place);
        let work = Work::default();
        let leaving = meanwhile(place, |place| ask_and_go_away(place, 2));
        let staying = {
            let work = work.clone();
            meanwhile(place, move |place| {
                let lock = wait(place, 3).unwrap();
                work.do_alone();
                lock
            })
        };
        work.do_alone();
        unlock(place, 1, None);
        leaving.join().unwrap();
        let lock = staying.join().unwrap();
        assert!(lock.fence > first.fence);
        assert_eq!(holders(place), [(id(3), lock.fence)]);
    });
}

#[test]
fn a_lock_goes_past_a_session_that_ends() {
    for is_drop in [false, true] {
        in_all_orders(&[], move |place| {
            with_a_holder(place);
            let ending = meanwhile(place, move |place| wait(place, 2));
            let staying = meanwhile(place, |place| wait(place, 3).unwrap());
            let ender = meanwhile(place, move |place| {
                let change = match is_drop {
                    false => Change::BeginClose(end(2, None)),
                    true => Change::Drop(end(2, None)),
                };
                assert_eq!(end_by(place, change, at(1)).0, Part::Began);
                finish(place, 2, at(1));
            });
            unlock(place, 1, None);
            ender.join().unwrap();
            let lock = staying.join().unwrap();
            if let Some(before) = ending.join().unwrap() {
                assert_ne!(before.fence, lock.fence, "two holders");
            }
            assert_eq!(holders(place), [(id(3), lock.fence)]);
        });
    }
}

#[test]
fn a_lock_of_a_session_that_ends_goes_to_who_stays() {
    in_all_orders(&[], |place| {
        let first = with_a_holder(place);
        let leaving = meanwhile(place, |place| ask_and_go_away(place, 2));
        let staying = meanwhile(place, |place| wait(place, 3).unwrap());
        assert_eq!(close(place, 1, at(1)).0, Part::Began);
        finish(place, 1, at(1));
        leaving.join().unwrap();
        let lock = staying.join().unwrap();
        assert!(lock.fence > first.fence);
        assert_eq!(holders(place), [(id(3), lock.fence)]);
    });
}

#[test]
fn who_gives_up_does_not_take_the_lock_from_another_request_of_its_process() {
    in_all_orders(&[], |place| {
        with_a_holder(place);
        let leaving = meanwhile(place, |place| ask_and_go_away(place, 2));
        let staying = meanwhile(place, |place| wait(place, 2).unwrap());
        unlock(place, 1, None);
        leaving.join().unwrap();
        let lock = staying.join().unwrap();
        assert_eq!(holders(place), [(id(2), lock.fence)]);
    });
}

#[test]
fn a_lock_that_nobody_was_told_of_goes_to_who_waits_although_two_gave_it_up() {
    in_all_orders(&[], |place| {
        with_a_holder(place);
        let leaving = [(); 2].map(|()| meanwhile(place, |place| ask_and_go_away(place, 2)));
        let staying = meanwhile(place, |place| wait(place, 3).unwrap());
        unlock(place, 1, None);
        for leaving in leaving {
            leaving.join().unwrap();
        }
        let lock = staying.join().unwrap();
        assert_eq!(holders(place), [(id(3), lock.fence)]);
    });
}

#[test]
fn of_two_who_do_not_wait_one_gets_the_lock() {
    in_all_orders(&[], |place| {
        for number in 1..=2 {
            open(place, number, at(0));
        }
        let ask = |number| {
            move |place: &Place| {
                let change = Change::Lock(first_of(number), record(), None);
                match place.apply(change, at(1)) {
                    Applied::Locked(_) => true,
                    Applied::Unfit(Unfit::Locked(held)) => {
                        assert_eq!(held.session, id(3 - number));
                        let is_locked = |row: &Row| matches!(row, Row::Locked { .. });
                        assert!(place.is_kept(&is_locked), "told before it is on disk");
                        false
                    }
                    applied => panic!("{applied:?}"),
                }
            }
        };
        let other = meanwhile(place, ask(2));
        let own = ask(1)(place);
        assert_ne!(own, other.join().unwrap());
        let [(holder, _)] = holders(place)[..] else {
            panic!("one holder");
        };
        assert_eq!(holder, id(if own { 1 } else { 2 }));
    });
}
