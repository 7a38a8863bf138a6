//! Evidence, indexed: processes by number, children by parent, holders by object.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::core::attribution;
use crate::core::evidence::{
    Access, ChildTarget, Evidence, Fd, Object, ObjectFacts, ObjectId, PipeFacts, Process, Thread, Wait,
};

/// A thread, by position in the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadKey {
    /// Position in [`Evidence::processes`].
    pub process: usize,
    /// Position in [`Process::threads`].
    pub thread: usize,
}

/// One fd that refers to an object.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'e> {
    /// Position of the process.
    pub process: usize,
    /// Its fd.
    pub fd: &'e Fd,
}

/// Look-ups over one evidence.
#[derive(Debug)]
pub struct Index<'e> {
    evidence: &'e Evidence,
    by_tgid: HashMap<u32, usize>,
    by_tid: HashMap<u32, ThreadKey>,
    children: HashMap<u32, Vec<usize>>,
    tracees: HashMap<u32, Vec<usize>>,
    holders: BTreeMap<ObjectId, Vec<Holder<'e>>>,
    objects: HashMap<ObjectId, &'e Object>,
    unread: Vec<usize>,
    tests: BTreeMap<usize, String>,
    to_observer: Vec<bool>,
}

impl<'e> Index<'e> {
    /// Reads all of it once.
    pub fn new(evidence: &'e Evidence) -> Self {
        let mut index = Self {
            evidence,
            by_tgid: HashMap::new(),
            by_tid: HashMap::new(),
            children: HashMap::new(),
            tracees: HashMap::new(),
            holders: BTreeMap::new(),
            objects: evidence.objects.iter().map(|o| (o.id, o)).collect(),
            unread: Vec::new(),
            tests: attribution::tests(evidence),
            to_observer: Vec::new(),
        };
        for (at, process) in evidence.processes.iter().enumerate() {
            index.by_tgid.insert(process.id.tgid, at);
            index.children.entry(process.ppid).or_default().push(at);
            if let Some(tracer) = process.traced_by {
                index.tracees.entry(tracer.tgid).or_default().push(at);
            }
            for (thread, t) in process.threads.iter().enumerate() {
                index.by_tid.insert(t.tid, ThreadKey { process: at, thread });
            }
            match &process.fds {
                Some(fds) => {
                    if fds.iter().any(|fd| fd.object == ObjectId::Unknown) {
                        index.unread.push(at);
                    }
                    for fd in fds {
                        index.holders.entry(fd.object).or_default().push(Holder { process: at, fd });
                    }
                }
                None if process.zombie || process.kernel_thread => {}
                None => index.unread.push(at),
            }
        }
        index.to_observer = index.find_observers();
        index
    }

    /// The processes that are the tracer itself, or only wait for its end: a shell or a watchdog that started
    /// it.
    fn find_observers(&self) -> Vec<bool> {
        let mut found = vec![false; self.evidence.processes.len()];
        let observers = (0..found.len()).filter(|at| self.process(*at).is_observer).collect::<Vec<_>>();
        for observer in observers {
            let mut at = observer;
            found[at] = true;
            while let Some(parent) = self.by_tgid(self.process(at).ppid).filter(|parent| !found[*parent]) {
                let process = self.process(parent);
                let waits = |thread: &Thread| matches!(thread.wait, Wait::WaitChild { .. } | Wait::Pause);
                let alone =
                    self.children(parent).iter().all(|child| found[*child] || self.process(*child).zombie);
                if process.threads.is_empty() || !process.threads.iter().all(waits) || !alone {
                    break;
                }
                found[parent] = true;
                at = parent;
            }
        }
        found
    }

    /// The process is the tracer itself, or only waits for its end.
    pub fn leads_to_observer(&self, at: usize) -> bool {
        self.to_observer[at]
    }

    /// The thread waits for the end of the tracer, while other threads of its process do not: it asks on
    /// their behalf.
    pub fn watches_observer(&self, key: ThreadKey) -> bool {
        let process = self.process(key.process);
        let target = match self.thread(key).wait {
            Wait::WaitChild { target: ChildTarget::Pid(number), .. } => self.by_tgid(number),
            Wait::WaitChild { target: ChildTarget::PidFd(fd), .. } => {
                match process.fd(fd).map(|fd| self.facts(&fd.object)) {
                    Some(ObjectFacts::PidFd { target: Some(number), .. }) => self.by_tgid(*number),
                    _ => None,
                }
            }
            _ => None,
        };
        process.threads.len() > 1 && target.is_some_and(|target| self.leads_to_observer(target))
    }

    /// The test that a process belongs to.
    pub fn test(&self, at: usize) -> Option<&str> {
        self.tests.get(&at).map(String::as_str)
    }

    /// The process runs tests: it belongs to one, or is a runner. A thread that rests in it is not a service
    /// at rest.
    pub fn runs_tests(&self, at: usize) -> bool {
        self.tests.contains_key(&at) || attribution::is_runner(self.process(at))
    }

    /// What was indexed.
    pub fn evidence(&self) -> &'e Evidence {
        self.evidence
    }

    /// The process at a position that the index gave out.
    pub fn process(&self, at: usize) -> &'e Process {
        &self.evidence.processes[at]
    }

    /// The thread of a key that the index gave out.
    pub fn thread(&self, key: ThreadKey) -> &'e Thread {
        &self.evidence.processes[key.process].threads[key.thread]
    }

    /// All threads, in order.
    pub fn threads(&self) -> impl Iterator<Item = ThreadKey> + use<'e> {
        self.evidence
            .processes
            .iter()
            .enumerate()
            .flat_map(|(process, p)| (0..p.threads.len()).map(move |thread| ThreadKey { process, thread }))
    }

    /// The process with this number.
    pub fn by_tgid(&self, tgid: u32) -> Option<usize> {
        self.by_tgid.get(&tgid).copied()
    }

    /// The thread with this number.
    pub fn by_tid(&self, tid: u32) -> Option<ThreadKey> {
        self.by_tid.get(&tid).copied()
    }

    /// It lives in a pid namespace below the tracer's.
    pub fn is_inside(&self, at: usize) -> bool {
        let process = self.process(at);
        process.ns_pid.is_some_and(|number| number != process.id.tgid)
    }

    /// The process has this number in the pid namespace of `caller`.
    pub fn is_called(&self, at: usize, caller: usize, number: u32) -> bool {
        let (process, by) = (self.process(at), self.process(caller));
        if self.is_inside(caller) && process.pidns.is_some() && process.pidns == by.pidns {
            process.ns_pid == Some(number)
        } else {
            // The number that a caller inside a namespace uses for a process of a nested one cannot be read.
            process.id.tgid == number || self.is_inside(caller)
        }
    }

    /// Children, zombies too.
    pub fn children(&self, at: usize) -> &[usize] {
        self.children.get(&self.process(at).id.tgid).map_or(&[], Vec::as_slice)
    }

    /// The processes that it ptraces.
    pub fn tracees(&self, at: usize) -> &[usize] {
        self.tracees.get(&self.process(at).id.tgid).map_or(&[], Vec::as_slice)
    }

    /// Every fd that refers to the object.
    pub fn holders(&self, id: &ObjectId) -> &[Holder<'e>] {
        if *id == ObjectId::Unknown { &[] } else { self.holders.get(id).map_or(&[], Vec::as_slice) }
    }

    /// The processes that hold it in a mode that `wanted` accepts, each once, in order.
    pub fn holding(&self, id: &ObjectId, wanted: impl Fn(Access) -> bool) -> Vec<usize> {
        let mut seen = HashSet::new();
        self.holders(id)
            .iter()
            .filter(|h| wanted(h.fd.access))
            .map(|h| h.process)
            .filter(|p| seen.insert(*p))
            .collect()
    }

    /// What is known of an object.
    pub fn facts(&self, id: &ObjectId) -> &'e ObjectFacts {
        self.objects.get(id).map_or(&ObjectFacts::Nothing, |o| &o.facts)
    }

    /// What is known of a pipe.
    pub fn pipe(&self, id: &ObjectId) -> Option<&'e PipeFacts> {
        match self.facts(id) {
            ObjectFacts::Pipe(facts) => Some(facts),
            _ => None,
        }
    }

    /// The fds of a process in scope, or in the waiter's login session, could not be read: it may hold an end
    /// that appears to have no holder.
    ///
    /// Ends are inherited at fork. An unrelated process gets one only if it is sent, and the kernel's own
    /// counts show that.
    pub fn relevant_unread(&self, of: usize) -> Option<usize> {
        let process = self.process(of);
        self.unread.iter().copied().find(|at| {
            let other = self.process(*at);
            other.in_scope || other.shares_session(process)
        })
    }

    /// The fds of every process of the machine could be read. Init outside of the scope is excepted: it
    /// inherits orphans and not their fds.
    pub fn saw_every_fd(&self) -> bool {
        let matters = |at: &usize| self.process(*at).id.tgid != 1 || self.process(*at).in_scope;
        self.evidence.reach.whole_machine && !self.unread.iter().any(matters)
    }

    /// The process and its ancestors, nearest first. It also ends where the evidence names a process as its
    /// own ancestor.
    pub fn ancestors(&self, at: usize) -> impl Iterator<Item = usize> {
        let next = move |at: &usize| self.by_tgid(self.process(*at).ppid).filter(|parent| parent != at);
        std::iter::successors(Some(at), next).take(self.evidence.processes.len())
    }

    /// `ancestor` is the parent of `of`, or the parent of that one, and so on.
    pub fn is_ancestor(&self, ancestor: usize, of: usize) -> bool {
        self.ancestors(of).skip(1).any(|at| at == ancestor)
    }

    /// `holder` inherited its end of `shared` from a process that has ended since, and is outside the family
    /// of `reader`: it, or one of its ancestors below their common one, lost its parent.
    pub fn is_adrift(&self, holder: usize, reader: usize, shared: &ObjectId) -> bool {
        // A descendant of the reader is of its family, however the two got into their login session.
        if self.is_ancestor(reader, holder) {
            return false;
        }
        let mut at = holder;
        for _ in 0..self.evidence.processes.len() {
            if at == reader || self.is_ancestor(at, reader) {
                return false;
            }
            if self.lost_its_parent(at, reader, shared) {
                return true;
            }
            match self.by_tgid(self.process(at).ppid) {
                Some(parent) if parent != at => at = parent,
                _ => return false,
            }
        }
        false
    }

    /// The process was reparented to init or a subreaper. No name is needed for the proof, which is one of
    /// these:
    /// - The kernel's events recorded another parent.
    /// - It belongs to a login session whose living leader it does not descend from. Membership is only
    ///   inherited at fork.
    /// - It shares an anonymous object, which is only inherited at fork, with `reader` and is in another
    ///   session, and its parent is init, a known reaper, or holds no end of that object.
    fn lost_its_parent(&self, at: usize, reader: usize, shared: &ObjectId) -> bool {
        let process = self.process(at);
        if let Some(history) = &self.evidence.history
            && let Some(fork) = history.forks.iter().find(|f| f.child == process.id)
        {
            return fork.parent.tgid != process.ppid;
        }
        let leader = process.sid.and_then(|sid| self.by_tgid(sid)).filter(|leader| *leader != at);
        // A job that was itself reparented to init does not descend from the leader either, which says
        // nothing about its parts.
        if let Some(leader) = leader
            && (leader == reader || self.is_ancestor(leader, reader))
        {
            return !self.is_ancestor(leader, at);
        }
        let anonymous =
            matches!(shared, ObjectId::Pipe { .. } | ObjectId::Unix { .. } | ObjectId::Pty { .. });
        let parent = self.by_tgid(process.ppid);
        let parent_holds = parent.is_some_and(|p| self.holders(shared).iter().any(|h| h.process == p));
        let reaped = process.ppid == 1 || parent.is_some_and(|p| self.process(p).reaper == Some(true));
        let elsewhere = process.sid != self.process(reader).sid && !self.is_ancestor(reader, at);
        anonymous && !parent_holds && (reaped || elsewhere)
    }
}
