//! Limits and times of the protocol, and the relations between them that the compiler checks.

use serde::{Deserialize, Serialize};

/// What can be chosen when a node starts. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// How many slots the leader drives at once. 1 gives one entry at a time.
    pub window: u32,
    /// How many commands travel in one slot. 1 gives one command per slot.
    pub batch: u32,
    /// How often a leader tells that it is alive.
    pub heartbeat_ms: u64,
    /// How long a node hears no leader before it canvasses; up to half as much again is added at random.
    pub election_ms: u64,
    /// After how long an unanswered Accept or Prepare is sent again; doubles at every repetition.
    pub resend_ms: u64,
    /// How long a leader's disk may leave a fence unanswered before the leader abdicates.
    pub disk_stall_ms: u64,
    /// After how many executed slots a snapshot is taken, by a mark in the log.
    pub snapshot_slots: u64,
    /// After how many bytes of executed values a snapshot is taken.
    pub snapshot_bytes: u64,
    /// After how long the replicas compare their states, if anything was executed meanwhile.
    pub mark_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            window: 64,
            batch: 4096,
            heartbeat_ms: 50,
            election_ms: 300,
            resend_ms: 150,
            disk_stall_ms: 2000,
            snapshot_slots: 100_000,
            snapshot_bytes: 256 << 20,
            mark_ms: 10_000,
        }
    }
}

/// The longest operation that is taken, in bytes: a value of 1 MiB and room for its key.
pub const MAX_OPERATION_BYTES: usize = (1 << 20) + (64 << 10);
/// The most bytes of commands that one slot takes.
pub const MAX_BATCH_BYTES: usize = 2 << 20;
/// The most bytes of values in one Accept, one part of a Promise, one catch-up answer.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// The most bytes of commands that wait for a slot.
pub const MAX_QUEUE_BYTES: usize = 64 << 20;
/// How far a session's sequences may run ahead of the first unfinished one.
pub const SESSION_WINDOW: u64 = 1024;
/// The longest result that is kept and sent, in bytes. Part of the replicated rules, as the two below: the same everywhere.
pub const MAX_RESULT_BYTES: usize = 4 << 20;
/// The most bytes of results that one session keeps; its oldest make room.
pub const MAX_SESSION_RESULT_BYTES: usize = 16 << 20;
/// The most bytes of results that all sessions keep; the oldest make room.
pub const MAX_KEPT_RESULT_BYTES: usize = 256 << 20;
/// How long a session may stay idle, in milliseconds of the log's clock. Part of the replicated rules: the same everywhere.
pub const SESSION_IDLE_MS: u64 = 24 * 3600 * 1000;
/// How many reads wait for an index on one node at most.
pub const MAX_READS: usize = 1 << 16;
/// The most bytes of those reads' questions.
pub const MAX_READ_BYTES: usize = 64 << 20;
/// Once the answers to the reads of one lot have so many bytes, the others are refused.
pub const MAX_ANSWER_BYTES: usize = 64 << 20;
/// How many sessions are kept; the one idle longest makes room.
pub const MAX_SESSIONS: usize = 100_000;
/// How many slots may be open between what a candidate knows and the highest vote it is told of.
pub const MAX_OPEN_SLOTS: u64 = 1 << 20;
/// The most slots that a leader drives at once.
pub const MAX_WINDOW: u32 = 1 << 16;
/// The largest snapshot that is taken from a peer, in bytes.
pub const MAX_SNAPSHOT_BYTES: u64 = 64 << 30;

const _: () = assert!(MAX_OPERATION_BYTES < MAX_BATCH_BYTES);
const _: () = assert!(MAX_BATCH_BYTES < MAX_MESSAGE_BYTES);
const _: () = assert!((MAX_WINDOW as u64) < MAX_OPEN_SLOTS);
const _: () = assert!(MAX_MESSAGE_BYTES < MAX_QUEUE_BYTES);
const _: () = assert!(MAX_OPERATION_BYTES < MAX_RESULT_BYTES);
const _: () = assert!(MAX_RESULT_BYTES < MAX_SESSION_RESULT_BYTES);
const _: () = assert!(MAX_SESSION_RESULT_BYTES < MAX_KEPT_RESULT_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;
    const MIB: usize = 1024 * 1024;

    /// What of a command executes, and what a repetition is answered, follows from these: nodes with others disagree.
    #[test]
    fn the_limits_that_are_part_of_the_replicated_rules_stay() {
        assert_eq!((SESSION_WINDOW, MAX_SESSIONS, SESSION_IDLE_MS), (1024, 100_000, 86_400_000));
        assert_eq!(MAX_RESULT_BYTES, 4 * MIB);
        assert_eq!(MAX_SESSION_RESULT_BYTES, 16 * MIB);
        assert_eq!(MAX_KEPT_RESULT_BYTES, 256 * MIB);
    }

    /// A message that one node sends another must be willing to take.
    #[test]
    fn the_limits_that_nodes_and_clients_rely_on_stay() {
        assert_eq!(MAX_OPERATION_BYTES, MIB + 64 * KIB);
        assert_eq!((MAX_BATCH_BYTES, MAX_MESSAGE_BYTES, MAX_QUEUE_BYTES), (2 * MIB, 4 * MIB, 64 * MIB));
        assert_eq!((MAX_READS, MAX_READ_BYTES, MAX_ANSWER_BYTES), (64 * KIB, 64 * MIB, 64 * MIB));
        assert_eq!((MAX_OPEN_SLOTS, MAX_WINDOW), (MIB as u64, 64 * KIB as u32));
        assert_eq!(MAX_SNAPSHOT_BYTES, 64 * 1024 * MIB as u64);
        assert_eq!(Settings::default().snapshot_bytes, 256 * MIB as u64);
    }
}
