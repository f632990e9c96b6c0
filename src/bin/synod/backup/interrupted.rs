//! A signal that comes in the middle: whatever is awaited, read or written is given up, and what is unfinished removed.
//!
//! Between signals and the work there is one place to look, [`Interrupted`]; the disk looks there before each operation,
//! so that work that knows nothing of signals is given up, too. A second signal ends the program at once, and then
//! something may be left.

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use synod::storage::{Disk, DiskError};
use tokio::sync::oneshot;

use crate::answer::{Failure, HUNG_UP, TERMINATED};
use crate::demo::Signals;

/// Whether a signal asks the command to end.
#[derive(Clone)]
pub struct Interrupted {
    told: Arc<Mutex<Told>>,
    /// What is being made, for people.
    place: String,
}

enum Told {
    NotYet(oneshot::Receiver<u8>),
    /// The exit code that the signal stands for.
    By(u8),
    /// Nobody watches for signals.
    Never,
}

impl Interrupted {
    /// Watches from now on, while this is being made.
    pub fn watch(place: &Path) -> Interrupted {
        let told = Arc::new(Mutex::new(Told::NotYet(Signals::alone().told_first())));
        Interrupted { told, place: place.display().to_string() }
    }

    /// Does something that waits; gives it up when a signal comes.
    pub async fn or<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            failure = self.told() => Err(failure),
            done = work => done,
        }
    }

    /// What was done without waiting; given up all the same, whether it failed or not, if a signal has come.
    pub fn unless<T>(&self, done: Result<T, Failure>) -> Result<T, Failure> {
        match self.by() {
            Some(code) => Err(self.failure(code)),
            None => done,
        }
    }

    /// Ends when a signal comes.
    async fn told(&self) -> Failure {
        let code = poll_fn(|context| {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if let Told::NotYet(receiver) = &mut *told
                && let Poll::Ready(answer) = Pin::new(receiver).poll(context)
            {
                *told = answer.map_or(Told::Never, Told::By);
            }
            if let Told::By(code) = *told { Poll::Ready(code) } else { Poll::Pending }
        });
        self.failure(code.await)
    }

    fn failure(&self, code: u8) -> Failure {
        let how = match code {
            TERMINATED => "terminated",
            HUNG_UP => "hung up",
            _ => "interrupted",
        };
        let message = format!("{how} before `{}` was whole: nothing is left of it; begin again", self.place);
        Failure::interrupted(code, message)
    }

    /// The exit code of the signal, if one has come.
    fn by(&self) -> Option<u8> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Told::NotYet(receiver) = &mut *told
            && let Ok(code) = receiver.try_recv()
        {
            *told = Told::By(code);
        }
        if let Told::By(code) = *told { Some(code) } else { None }
    }
}

/// A disk that does nothing more once a signal has come: every operation is an error then.
#[derive(Clone)]
pub struct Interruptible<D> {
    disk: D,
    interrupted: Interrupted,
}

impl<D> Interruptible<D> {
    /// A disk until a signal comes.
    pub fn new(disk: D, interrupted: &Interrupted) -> Interruptible<D> {
        Interruptible { disk, interrupted: interrupted.clone() }
    }

    /// The disk, if it is to do anything yet.
    fn to(&self, operation: &'static str, file: &str) -> Result<&D, DiskError> {
        match self.interrupted.by() {
            Some(_) => Err(DiskError::new(file, operation, "interrupted")),
            None => Ok(&self.disk),
        }
    }
}

impl<D: Disk> Disk for Interruptible<D> {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        self.to("list", "")?.list()
    }

    fn len(&self, file: &str) -> Result<u64, DiskError> {
        self.to("measure", file)?.len(file)
    }

    fn read(&self, file: &str, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        self.to("read", file)?.read(file, offset, length)
    }

    fn create(&self, file: &str) -> Result<(), DiskError> {
        self.to("create", file)?.create(file)
    }

    fn write_at(&self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.to("write", file)?.write_at(file, offset, bytes)
    }

    fn sync(&self, file: &str) -> Result<(), DiskError> {
        self.to("sync", file)?.sync(file)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.to("rename", from)?.rename(from, to)
    }

    fn remove(&self, file: &str) -> Result<(), DiskError> {
        self.to("remove", file)?.remove(file)
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        self.to("sync", "")?.sync_dir()
    }
}
