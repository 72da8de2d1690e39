//! What was asked of a server that is killed again and again, what it answered, and what may be true by that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use sessionctl::admin::{Ending, HistoryEntry, Outcome};
use sessionctl::context::{Context, Lock, Name, Record, Selection};
use sessionctl::error::Error;
use sessionctl::on_close::RunKey;
use sessionctl::session::{Cause, Kind, ProcessNumber, SessionId};
use uuid::Uuid;

/// Numbers that order what the clients see: one for each request, and one for each answer.
pub(crate) type Moment = u64;

/// After everything.
pub(crate) const NEVER: Moment = Moment::MAX;

/// When a request can have taken effect: from its asking to its answer, or to the death of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) asked: Moment,
    pub(crate) until: Moment,
}

impl Span {
    pub(crate) fn at(moment: Moment) -> Self {
        Self {
            asked: moment,
            until: moment,
        }
    }

    /// Whether it was over before the other began.
    pub(crate) fn is_before(self, other: Self) -> bool {
        self.until < other.asked
    }
}

/// After everything that was asked so far.
pub(crate) const AFTERWARDS: Span = Span {
    asked: NEVER,
    until: NEVER,
};

/// A request, and what came of it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) span: Span,
    pub(crate) asked: Asked,
    pub(crate) answer: Answer,
}

/// What a client asks.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// A web client comes, with a cookie that is dead or with none.
    Enter {
        dead: Option<String>,
    },
    /// An application opens a session.
    Open {
        kind: Kind,
        user: Option<String>,
    },
    LogIn {
        id: SessionId,
        user: String,
    },
    Start {
        id: SessionId,
        is_leased: bool,
    },
    EndProcess(RunKey),
    /// Sets a variable or a selection, or takes it away.
    Put(RunKey, Slot, Value),
    /// Reads the context of a process.
    Look(RunKey),
    Lock {
        key: RunKey,
        record: Record,
        wait: Duration,
    },
    Unlock(RunKey, Record),
    Close {
        id: SessionId,
        request: Uuid,
        wait: Duration,
    },
    LogOut {
        id: SessionId,
        token: String,
    },
    Drop {
        id: SessionId,
        request: Uuid,
    },
    Check {
        id: SessionId,
        token: String,
        touches: bool,
    },
}

/// What a client was told.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing: the server was killed, or the client went away.
    None,
    Refused(Error),
    /// The token is nobody's, or no longer anybody's.
    NotAccepted,
    Accepted,
    Done,
    /// The session is open, or somebody is signed in, with this token.
    Opened(SessionId, String),
    Started(ProcessNumber),
    Context(Context),
    Locked(Lock),
    Ended(Outcome),
}

/// A thing of a process that holds one value at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Variable(Name),
    Selection(Name),
    Lock(Record),
}

/// What a slot holds. Every text is written once, and the text of a lock is its fence: who sees it knows whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Nothing,
    Text(String),
    /// A lock that nobody was told of: its fence is unknown.
    Unknown,
}

impl Value {
    pub(crate) fn fence(fence: u64) -> Self {
        Self::Text(fence.to_string())
    }

    pub(crate) fn selection(selection: &Selection) -> Self {
        Self::Text(serde_json::to_string(selection).unwrap())
    }

    fn may_be(&self, found: &Self) -> bool {
        self == found || (*self == Self::Unknown && matches!(found, Self::Text(_)))
    }
}

/// All that a context holds.
pub(crate) fn slots(context: &Context) -> BTreeMap<Slot, Value> {
    let variables = context.variables.iter().map(|(name, value)| {
        let value = Value::Text(value.as_str().into());
        (Slot::Variable(name.clone()), value)
    });
    let selections = context.selections.iter().map(|(name, selection)| {
        let value = Value::selection(selection);
        (Slot::Selection(name.clone()), value)
    });
    let locks = context
        .locks
        .iter()
        .map(|lock| (Slot::Lock(lock.target()), Value::fence(lock.fence)));
    variables.chain(selections).chain(locks).collect()
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) span: Span,
    pub(crate) value: Value,
    /// Whether it has taken effect for sure.
    pub(crate) is_sure: bool,
}

/// The writes of one slot that still matter, besides the nothing that was there before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Register(pub(crate) Vec<Write>);

impl Register {
    /// Whether it can have held this at some moment between `when.asked` and `when.until`.
    pub(crate) fn may_hold(&self, found: &Value, when: Span) -> bool {
        let nothing = Write {
            span: Span::at(0),
            value: Value::Nothing,
            is_sure: true,
        };
        let mut fitting = self
            .0
            .iter()
            .chain([&nothing])
            .filter(|write| write.value.may_be(found) && write.span.asked < when.until);
        fitting.any(|write| {
            let overwrites = |later: &Write| {
                later.is_sure && write.span.is_before(later.span) && later.span.until < when.asked
            };
            !self.0.iter().any(overwrites)
        })
    }

    /// Whoever locks what it has locked is told the same lock once more.
    fn lock(&mut self, span: Span, value: Value) {
        let same = self.0.iter_mut().find(|write| write.value == value);
        match same {
            Some(write) => {
                write.span.asked = write.span.asked.min(span.asked);
                write.span.until = write.span.until.min(span.until);
            }
            None => self.write(span, value, true),
        }
    }

    pub(crate) fn write(&mut self, span: Span, value: Value, is_sure: bool) {
        self.0.push(Write {
            span,
            value,
            is_sure,
        });
    }

    /// Somebody was told of a value: no crash takes it back.
    fn told(&mut self, value: &Value, until: Moment) {
        let told = self.0.iter_mut().find(|write| write.value == *value);
        if let Some(write) = told {
            write.is_sure = true;
            write.span.until = write.span.until.min(until);
        }
    }

    /// From here on it holds what was found.
    pub(crate) fn settle(&mut self, found: Value, now: Moment) {
        self.0.clear();
        if found != Value::Nothing {
            self.write(Span::at(now), found, true);
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ProcessStory {
    /// `None` if it was found, and nobody was told of its start.
    pub(crate) is_leased: Option<bool>,
    /// When it was to end by itself, and whether that has taken effect for sure.
    pub(crate) ends: Vec<(Span, bool)>,
    /// Whether it was gone while its session was there.
    pub(crate) has_ended: bool,
    pub(crate) registers: BTreeMap<Slot, Register>,
    /// What the on-close method was told of it.
    pub(crate) ran: Option<Context>,
}

impl ProcessStory {
    pub(crate) fn new(is_leased: Option<bool>) -> Self {
        Self {
            is_leased,
            ends: Vec::new(),
            has_ended: false,
            registers: BTreeMap::new(),
            ran: None,
        }
    }

    pub(crate) fn register(&mut self, slot: Slot) -> &mut Register {
        self.registers.entry(slot).or_default()
    }
}

/// Who is signed in, with which token: the opening, and log-ins. An unknown token is one that nobody was told.
#[derive(Clone, Debug)]
pub(crate) struct SignIn {
    pub(crate) span: Span,
    pub(crate) is_sure: bool,
    pub(crate) user: Option<String>,
    pub(crate) token: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Close(Uuid),
    LogOut,
    Drop(Uuid),
}

/// A request to end a session.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) span: Span,
    pub(crate) how: How,
    /// `None` if no answer came.
    pub(crate) told: Option<ToldEnd>,
}

/// What was told of an ending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToldEnd {
    pub(crate) outcome: Ending,
    pub(crate) initiated: bool,
    /// Unknown after a log-out.
    pub(crate) cause: Option<Cause>,
}

/// What is known of a session.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) kind: Kind,
    pub(crate) sign_ins: Vec<SignIn>,
    /// Tokens that a log-in has replaced.
    pub(crate) replaced: Vec<String>,
    /// Tokens that were refused, and when that was told.
    pub(crate) refused: HashMap<String, Moment>,
    pub(crate) processes: BTreeMap<ProcessNumber, ProcessStory>,
    /// Starts of which nobody knows the number, or whether there is one.
    pub(crate) unsure_starts: usize,
    /// Whether a web session may have got a fresh process by a request: its process was to end.
    pub(crate) may_resume: bool,
    pub(crate) ends: Vec<End>,
    /// Whether it was found closing or closed after a restart.
    pub(crate) is_over: bool,
    /// After how many restarts it was found closed.
    pub(crate) closed: usize,
    pub(crate) history: Option<HistoryEntry>,
}

/// Somebody was told who holds a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fact {
    pub(crate) span: Span,
    pub(crate) holder: RunKey,
    pub(crate) fence: u64,
    /// Whether the holder itself was told: if not, and if it went away, the lock goes by itself.
    pub(crate) is_holders: bool,
    /// Whether nobody held it any more when the server was looked at.
    pub(crate) is_released: bool,
}

/// What is known of all sessions and records.
#[derive(Default)]
pub(crate) struct Histories {
    pub(crate) stories: HashMap<SessionId, Story>,
    /// By record, in the order of telling; of the rounds before only the last one.
    pub(crate) facts: BTreeMap<Record, Vec<Fact>>,
    /// Sessions that nobody knows of because their opening was not answered, and how many there may be.
    pub(crate) strays: BTreeSet<SessionId>,
    pub(crate) unsure_opens: usize,
    /// Sessions that have ended long ago, with their tokens.
    pub(crate) retired: HashMap<SessionId, Vec<String>>,
}

impl Histories {
    /// Takes note of an event; says what cannot be.
    pub(crate) fn record(&mut self, event: &Event) -> Option<String> {
        let Event {
            span,
            asked,
            answer,
        } = event;
        let span = *span;
        match (asked, answer) {
            (Asked::Enter { .. } | Asked::Open { .. }, _) => return self.opened(event),
            (Asked::LogIn { id, user }, _) => {
                let token = match answer {
                    Answer::Opened(_, token) => Some(token.clone()),
                    _ if may_have_happened(answer) => None,
                    _ => return None,
                };
                let is_sure = token.is_some();
                let user = Some(user.clone());
                self.story(*id)?.sign_ins.push(SignIn {
                    span,
                    is_sure,
                    user,
                    token,
                });
            }
            (Asked::Start { id, is_leased }, Answer::Started(number)) => {
                let process = ProcessStory::new(Some(*is_leased));
                let before = self.story(*id)?.processes.insert(*number, process);
                return before.map(|_| format!("{id}/{number} was started twice"));
            }
            (Asked::Start { id, .. }, answer) => {
                self.story(*id)?.unsure_starts += usize::from(may_have_happened(answer));
            }
            (Asked::EndProcess(key), Answer::Done | Answer::None) => {
                let story = self.story(key.session)?;
                story.may_resume |= story.kind == Kind::Web;
                let is_sure = matches!(answer, Answer::Done);
                story
                    .processes
                    .get_mut(&key.process)?
                    .ends
                    .push((span, is_sure));
            }
            (Asked::Put(key, slot, value), Answer::Done | Answer::None) => {
                let is_sure = matches!(answer, Answer::Done);
                let register = self.process(*key)?.register(slot.clone());
                register.write(span, value.clone(), is_sure);
            }
            (Asked::Look(key), Answer::Context(context)) => self.looked(*key, span, context),
            (Asked::Lock { key, record, .. }, _) => self.locked(*key, record, span, answer),
            (Asked::Unlock(key, record), Answer::Done | Answer::None) => {
                let is_sure = matches!(answer, Answer::Done);
                let register = self.process(*key)?.register(Slot::Lock(record.clone()));
                register.write(span, Value::Nothing, is_sure);
            }
            (Asked::Close { id, request, .. }, _) => {
                self.ended(*id, span, How::Close(*request), answer);
            }
            (Asked::Drop { id, request }, _) => self.ended(*id, span, How::Drop(*request), answer),
            (Asked::LogOut { id, token }, Answer::NotAccepted) => self.refused(*id, token, span),
            (Asked::LogOut { id, .. }, _) => self.ended(*id, span, How::LogOut, answer),
            (Asked::Check { id, token, .. }, Answer::NotAccepted) => self.refused(*id, token, span),
            _ => {}
        }
        None
    }

    /// Records that were held at the last look, with their holders.
    pub(crate) fn held(&self) -> Vec<(RunKey, Record)> {
        let facts = self.facts.iter().flat_map(|(record, facts)| {
            let held = facts.iter().filter(|fact| !fact.is_released);
            held.map(|fact| (fact.holder, record.clone()))
        });
        facts.collect()
    }

    pub(crate) fn story(&mut self, id: SessionId) -> Option<&mut Story> {
        self.stories.get_mut(&id)
    }

    pub(crate) fn process(&mut self, key: RunKey) -> Option<&mut ProcessStory> {
        self.story(key.session)?.processes.get_mut(&key.process)
    }

    fn opened(&mut self, event: &Event) -> Option<String> {
        let Answer::Opened(id, token) = &event.answer else {
            self.unsure_opens += usize::from(matches!(event.answer, Answer::None));
            return None;
        };
        let (kind, user) = match &event.asked {
            Asked::Open { kind, user } => (*kind, user.clone()),
            _ => (Kind::Web, None),
        };
        let mut processes = BTreeMap::new();
        if kind == Kind::Web {
            processes.insert(ProcessNumber(1), ProcessStory::new(Some(false)));
        }
        let story = Story {
            kind,
            sign_ins: vec![SignIn {
                span: event.span,
                is_sure: true,
                user,
                token: Some(token.clone()),
            }],
            replaced: Vec::new(),
            refused: HashMap::new(),
            processes,
            unsure_starts: 0,
            may_resume: false,
            ends: Vec::new(),
            is_over: false,
            closed: 0,
            history: None,
        };
        let is_known = self.retired.contains_key(id) || self.strays.contains(id);
        let before = self.stories.insert(*id, story);
        (is_known || before.is_some()).then(|| format!("{id} was opened twice"))
    }

    fn looked(&mut self, key: RunKey, span: Span, context: &Context) {
        for lock in &context.locks {
            self.tell(key, span, lock, false);
        }
        let Some(process) = self.process(key) else {
            return;
        };
        for (slot, value) in slots(context) {
            if let Some(register) = process.registers.get_mut(&slot) {
                register.told(&value, span.until);
            }
        }
    }

    fn locked(&mut self, key: RunKey, record: &Record, span: Span, answer: &Answer) {
        match answer {
            Answer::Locked(lock) => {
                self.tell(key, span, lock, true);
                if let Some(process) = self.process(key) {
                    let register = process.register(Slot::Lock(record.clone()));
                    register.lock(span, Value::fence(lock.fence));
                }
            }
            Answer::Refused(Error::LockHeld(held)) => {
                let holder = RunKey {
                    session: held.session,
                    process: held.process,
                };
                let lock = Lock {
                    table: held.table.clone(),
                    record: held.record.clone(),
                    since: held.since,
                    fence: held.fence,
                };
                self.tell(holder, span, &lock, false);
            }
            Answer::None => {
                if let Some(process) = self.process(key) {
                    let register = process.register(Slot::Lock(record.clone()));
                    register.write(span, Value::Unknown, false);
                }
            }
            _ => {}
        }
    }

    fn tell(&mut self, holder: RunKey, span: Span, lock: &Lock, is_holders: bool) {
        self.facts.entry(lock.target()).or_default().push(Fact {
            span,
            holder,
            fence: lock.fence,
            is_holders,
            is_released: false,
        });
    }

    fn refused(&mut self, id: SessionId, token: &str, span: Span) {
        if let Some(story) = self.story(id) {
            let told = story.refused.entry(token.into()).or_insert(span.until);
            *told = span.until.min(*told);
        }
    }

    fn ended(&mut self, id: SessionId, span: Span, how: How, answer: &Answer) {
        let told = match answer {
            Answer::Ended(outcome) => Some(ToldEnd {
                outcome: outcome.outcome,
                initiated: outcome.initiated,
                cause: outcome.cause,
            }),
            Answer::Done => Some(ToldEnd {
                outcome: Ending::Closing,
                initiated: false,
                cause: None,
            }),
            Answer::None => None,
            _ => return,
        };
        if let Some(story) = self.story(id) {
            story.ends.push(End { span, how, told });
        }
    }
}

/// Whether a request may have taken effect although its client was told of no success: it got no answer, or the session
/// ended in between.
fn may_have_happened(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::None | Answer::Refused(Error::Closing(_) | Error::Closed(_))
    )
}
