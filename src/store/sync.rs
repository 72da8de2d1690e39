//! The locks and atomics of the live set and of what stands around it. In the unit tests they are those of a model checker,
//! which decides who goes next at each of them: such a test has to run inside `shuttle::check_random` or its like. The
//! program, and the tests that link the library as others do, have those of the standard library.

#[cfg(test)]
pub(super) use shuttle::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};
#[cfg(not(test))]
pub(super) use std::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};
