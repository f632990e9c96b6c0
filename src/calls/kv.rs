//! The key-value store's calls, typed.

use super::{no_answer, opened, unreadable};
use crate::client::{Client, ClientError, Done};
use crate::machine::MachineId;
use crate::machine::kv::{Answer, Operation, Query, Scan};
use crate::paxos::Bytes;

/// One page of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values, in order of keys.
    pub entries: Vec<(Bytes, Bytes)>,
    /// There may be more behind this key: ask with it as [`Scan::after`].
    pub next: Option<Bytes>,
}

/// Each command fails as [`Client::submit`] does, each question as [`Client::query`]; beyond that with
/// [`ClientError::Refused`] if a key or a value is over its limit.
impl Client {
    /// Gives a key a value.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Done<()>, ClientError> {
        let done = self.operate(Operation::Put { key: key.into(), value: value.into() }).await?;
        expect(done, |answer| matches!(answer, Answer::Ok).then_some(()))
    }

    /// Adds to the end of a key's value and returns the whole value.
    pub async fn append(&self, key: impl Into<Bytes>, suffix: impl Into<Bytes>) -> Result<Done<Bytes>, ClientError> {
        let done = self.operate(Operation::Append { key: key.into(), suffix: suffix.into() }).await?;
        expect(done, |answer| match answer {
            Answer::Appended { value } => Some(value),
            _ => None,
        })
    }

    /// Removes a key; tells whether it was there.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<Done<bool>, ClientError> {
        let done = self.operate(Operation::Delete { key: key.into() }).await?;
        expect(done, |answer| match answer {
            Answer::Deleted { existed } => Some(existed),
            _ => None,
        })
    }

    /// Gives a key a value if it has the expected one (`None`: if it does not exist). The inner error is what the key
    /// has instead; then nothing has changed.
    pub async fn cas(
        &self,
        key: impl Into<Bytes>,
        expected: Option<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Done<Result<(), Option<Bytes>>>, ClientError> {
        let done = self.operate(Operation::Cas { key: key.into(), expected, value: value.into() }).await?;
        expect(done, |answer| match answer {
            Answer::Swapped => Some(Ok(())),
            Answer::NotSwapped { actual } => Some(Err(actual)),
            _ => None,
        })
    }

    /// Proposes a value for a write-once register and returns what the register is decided on: the first value ever
    /// proposed for it.
    pub async fn decide(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Done<Bytes>, ClientError> {
        let done = self.operate(Operation::Decide { key: key.into(), value: value.into() }).await?;
        expect(done, |answer| match answer {
            Answer::Decided { value } => Some(value),
            _ => None,
        })
    }

    /// Puts a value into the log, for the log's own sake.
    pub async fn propose(&self, value: impl Into<Bytes>) -> Result<Done<()>, ClientError> {
        let done = self.operate(Operation::Propose { value: value.into() }).await?;
        expect(done, |answer| matches!(answer, Answer::Ok).then_some(()))
    }

    /// A key's value.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Bytes>, ClientError> {
        self.ask_kv(Query::Get { key: key.into() }, false).await.and_then(value)
    }

    /// A key's value in what the connected node has executed, however old.
    pub async fn get_local(&self, key: impl Into<Bytes>) -> Result<Option<Bytes>, ClientError> {
        self.ask_kv(Query::Get { key: key.into() }, true).await.and_then(value)
    }

    /// What a write-once register is decided on.
    pub async fn decided(&self, key: impl Into<Bytes>) -> Result<Option<Bytes>, ClientError> {
        self.ask_kv(Query::Decided { key: key.into() }, false).await.and_then(value)
    }

    /// A page of entries, in order of keys.
    pub async fn scan(&self, scan: Scan) -> Result<Page, ClientError> {
        self.ask_kv(Query::Scan(scan), false).await.and_then(page)
    }

    /// A page of entries in what the connected node has executed, however old.
    pub async fn scan_local(&self, scan: Scan) -> Result<Page, ClientError> {
        self.ask_kv(Query::Scan(scan), true).await.and_then(page)
    }

    async fn operate(&self, operation: Operation) -> Result<Done<Answer>, ClientError> {
        let done = self.submit(MachineId::Kv.encode(&operation)).await?;
        let Done { place, ballot, result } = done.map(|result| read(&result));
        Ok(Done { place, ballot, result: result?.ok_or_else(unreadable)? })
    }

    async fn ask_kv(&self, query: Query, local: bool) -> Result<Answer, ClientError> {
        let question = MachineId::Kv.encode(&query);
        let answer = if local { self.query_local(question).await? } else { self.query(question).await? };
        read(&answer)?.ok_or_else(no_answer)
    }
}

/// None if the bytes are no answer of this store.
fn read(answer: &[u8]) -> Result<Option<Answer>, ClientError> {
    match Answer::decode(opened(answer)?) {
        Ok(Answer::Error(error)) => Err(ClientError::Refused { reason: error.to_string() }),
        Ok(answer) => Ok(Some(answer)),
        Err(_) => Ok(None),
    }
}

fn expect<T>(done: Done<Answer>, pick: impl FnOnce(Answer) -> Option<T>) -> Result<Done<T>, ClientError> {
    let Done { place, ballot, result } = done.map(pick);
    Ok(Done { place, ballot, result: result.ok_or_else(unreadable)? })
}

fn value(answer: Answer) -> Result<Option<Bytes>, ClientError> {
    match answer {
        Answer::Value(value) => Ok(value),
        _ => Err(no_answer()),
    }
}

fn page(answer: Answer) -> Result<Page, ClientError> {
    match answer {
        Answer::Page { entries, next } => Ok(Page { entries, next }),
        _ => Err(no_answer()),
    }
}
