//! Format version 1 of the journal stays openable, and stays what is written, byte by byte; so does version 2 of
//! snapshots. Nothing was ever released that wrote version 1 of those: it is refused by name.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and the line says where")]

use synod::machine::kv::Operation;
use synod::machine::{Composite, MachineId};
use synod::paxos::sessions::{Sessions, Verdict};
use synod::paxos::{
    Ballot, BatchNumber, Bytes, Command, Configuration, Context, Damage, NodeId, Place, Record, Sequence, SessionId,
    Slot, Stamp, State, StateMachine, Token, Value,
};
use synod::storage::snapshots::{Reader, SnapshotError};
use synod::storage::{Disk, Journal, MemoryDisk, OpenError, Settings, Snapshots, image};

const JOURNAL: &str = "journal-0000000001";
const SNAPSHOT: &str = "snapshot-00000000000000000007";
const SIZE: u32 = 8 * 1024;
const SETTINGS: Settings = Settings { segment_bytes: SIZE, first_segment_bytes: SIZE, spares: 0, keep_bytes: 0 };

fn batches() -> [Vec<Record>; 2] {
    let ballot = Ballot::new(0x0102, NodeId(3));
    let apply = Command::Apply {
        session: SessionId(4),
        sequence: Sequence(5),
        done_below: Sequence(6),
        operation: Bytes::from(&b"put"[..]),
    };
    let commands = [Command::Open { token: Token(7) }, apply];
    let value = Value::batch(Stamp { time_ms: 8, seed: 9 }, &commands);
    [
        vec![
            Record::Founded { cluster: "synod".into(), node: NodeId(1), configuration: Configuration::numbered(1) },
            Record::Promise { ballot },
            Record::Vote { slot: Slot(1), ballot, value },
            Record::Reserved { ballot },
        ],
        vec![
            Record::Chosen { slot: Slot(2), ballot, value: Value::no_op() },
            Record::ChosenUpto { ballot, upto: Slot(2) },
            Record::Witnessed { node: NodeId(2), batch: BatchNumber(10) },
            Record::Confirmed {},
        ],
    ]
}

#[test]
fn a_journal_of_format_1() {
    let fixture = unhex(JOURNAL_HEX);
    let disk = MemoryDisk::new();
    let mut journal = Journal::create(disk.clone(), SETTINGS, 0x1122_3344_5566_7788).unwrap();
    journal.vouch();
    for batch in batches() {
        batch.iter().for_each(|record| journal.append(record));
        journal.commit().unwrap();
    }
    journal.seal().unwrap();
    let written = disk.read_all(JOURNAL).unwrap();
    let used = written.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let written_hex = hex(&[&written[..44], &written[4096..used]].concat());
    assert_eq!(written_hex, hex(&fixture), "a new format needs a new version number");

    for fixture in [fixture, unhex(OLD_JOURNAL_HEX)] {
        let opened = Journal::open(disk_of(&fixture), SETTINGS).unwrap();
        assert_eq!(opened.records, batches().concat());
        assert_eq!((opened.journal.last_batch(), opened.damage), (BatchNumber(2), Damage::default()));
    }
}

fn disk_of(fixture: &[u8]) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut bytes = vec![0; SIZE as usize];
    bytes[..44].copy_from_slice(&fixture[..44]);
    bytes[4096..4096 + fixture.len() - 44].copy_from_slice(&fixture[44..]);
    disk.create(JOURNAL).unwrap();
    disk.write_at(JOURNAL, 0, &bytes).unwrap();
    disk
}

/// Damage in an old journal is known once a batch of today stands behind it; until then it is corruption.
#[test]
fn damage_in_an_old_journal_is_bounded_by_the_first_batch_that_tells_what_stood_before() {
    let disk = disk_of(&unhex(OLD_JOURNAL_HEX));
    let whole = disk.fork();
    disk.flip(JOURNAL, 4096 + 200, 0);
    assert!(matches!(Journal::open(disk, SETTINGS), Err(OpenError::Corrupt { .. })));
    let mut journal = Journal::open(whole.clone(), SETTINGS).unwrap().journal;
    journal.append(&Record::Promise { ballot: Ballot::new(0x0103, NodeId(3)) });
    journal.commit().unwrap();
    whole.flip(JOURNAL, 4096 + 200, 0);
    let opened = Journal::open(whole, SETTINGS).unwrap();
    assert_eq!((opened.damage.batches, opened.damage.unknown_upto), (1, Slot::ZERO));
    assert_eq!(opened.damage.votes, [(Slot(1), Ballot::new(0x0102, NodeId(3)))].into());
    assert!(opened.records.contains(&Record::Reserved { ballot: Ballot::new(0x0102, NodeId(3)) }), "restored");
}

fn with_snapshot(bytes: &[u8]) -> Snapshots<MemoryDisk> {
    let disk = MemoryDisk::new();
    disk.create(SNAPSHOT).unwrap();
    disk.write_at(SNAPSHOT, 0, bytes).unwrap();
    Snapshots::new(disk)
}

fn whole(mut reader: Reader<MemoryDisk>) -> Result<(Slot, Vec<u8>), SnapshotError> {
    Ok((reader.upto(), reader.read(reader.left() as usize)?))
}

#[test]
fn a_snapshot_of_format_2() {
    let disk = MemoryDisk::new();
    Snapshots::new(disk.clone()).save(Slot(7), [b"image"]).unwrap();
    let written = hex(&disk.read_all(SNAPSHOT).unwrap());
    assert_eq!(written, hex(&unhex(SNAPSHOT_HEX)), "a new format needs a new version number");

    let loaded = with_snapshot(&unhex(SNAPSHOT_HEX)).load_newest(whole).unwrap();
    assert_eq!(loaded.newest, Some((Slot(7), b"image".to_vec())));
}

/// Two of three reported at the mark of slot 5.
fn agreement() -> synod::paxos::Agreement {
    let mut agreement = synod::paxos::Agreement::default();
    agreement.on_mark(Slot(5));
    for node in [1, 3] {
        agreement.on_report(NodeId(node), Slot(5), [0xAB; 32], &Configuration::numbered(3));
    }
    agreement
}

/// What an image holds: the head, a session, and two machines' parts. Equal states at one slot give equal bytes.
#[test]
fn an_image_of_format_2() {
    let mut sessions = Sessions::new();
    let session = sessions.open(9);
    assert_eq!(sessions.judge(session, Sequence(1), Sequence(1), 10), Verdict::New);
    sessions.remember(session, Sequence(1), Place { slot: Slot(6), index: 2 }, Bytes::from("done"));
    let mut machine = Composite::default();
    let put = MachineId::Kv.encode(&Operation::Put { key: "k".into(), value: "v".into() });
    machine.apply(&Context { now_ms: 10, seed: 0, place: Place { slot: Slot(6), index: 2 } }, &put);
    let state = State {
        upto: Slot(7),
        clock_ms: 10,
        sessions,
        membership: synod::paxos::Membership::founded(synod::paxos::Configuration::numbered(3)),
        agreement: agreement(),
        machine,
        digest: [0; 32],
    };
    let state = State { digest: image::digest(&state.freeze()), ..state };

    let disk = MemoryDisk::new();
    let snapshots = Snapshots::new(disk.clone());
    let mut writer = snapshots.begin(Slot(7)).unwrap();
    assert_eq!(image::write(&state.freeze(), &mut writer, || Ok(true)).unwrap(), image::Written::Whole);
    writer.finish().unwrap();
    snapshots.keep(Slot(7)).unwrap();
    let written = hex(&disk.read_all(SNAPSHOT).unwrap());
    assert_eq!(written, hex(&unhex(IMAGE_HEX)), "a new format needs a new version number");

    let read = |reader| image::read(reader, Composite::default());
    let loaded = with_snapshot(&unhex(IMAGE_HEX)).load_newest(read).unwrap();
    assert_eq!(loaded.newest, Some(state));
}

#[test]
fn a_snapshot_of_format_1_is_refused() {
    let mut bytes = unhex(SNAPSHOT_HEX);
    bytes[8] = 1;
    let refused = with_snapshot(&bytes).load_newest(whole).unwrap_err();
    assert_eq!(refused, SnapshotError::UnknownVersion { file: SNAPSHOT.into(), version: 1 });
    assert!(
        refused.to_string().contains("has snapshot format 1, and this version of synod reads format 2"),
        "{refused}"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}

/// The segment's header, then what stands from byte 4096 on: two batches and a seal, its last zeros left out.
const JOURNAL_HEX: &str = "
    53594e4f444a4e4c010000000100000088776655443322110100000000000000002000000000000077ad31c242544348f407495e17010000
    05000000887766554433221101000000000000000100000000000000000000000000000001000000010000002e000000060cad2609000000
    0000000000000000000000000000000000000000000000000000000000000000000000000000000000003b000000ec567496000000000500
    00000000000073796e6f640100000001000000000000000100000002000000000000006e3101000000000000000000000000000000100000
    008c41cc2701000000020100000000000003000000660000008d85efb6020000000100000000000000020100000000000003000000460000
    0000000000010800000000000000090000000000000002000000000700000000000000000000000000000001040000000000000005000000
    0000000006000000000000000300000070757410000000812c38c60300000002010000000000000300000000425443481317377cbb000000
    050000008877665544332211020000000000000002000000000000000000000000000000010000000100000046000000b19b89da09000000
    0201000000000000030000000201000000000000030000000000000000000000000001000000000000000201000000000000030000000100
    00000000000001000000210000008ff712940400000002000000000000000201000000000000030000000100000000000000001800000039
    ec05ca05000000020100000000000003000000020000000000000010000000f80d20d706000000020000000a00000000000000040000000d
    f3675107000000000000000042544348683f88954e0000000100000088776655443322110300000000000000020000000000000000000000
    00000000010000000100000046000000211d5e29090000000201000000000000030000000201000000000000030000000100000000000000
    00000100000000000000020100000000000003000000010000000000000001
";

/// The same, written before batches told what stood before them.
const OLD_JOURNAL_HEX: &str = "
    53594e4f444a4e4c010000000100000088776655443322110100000000000000002000000000000077ad31c242544348db6c299be1000000
    04000000887766554433221101000000000000000100000000000000000000000000000001000000010000003b000000ec56749600000000
    050000000000000073796e6f640100000001000000000000000100000002000000000000006e310100000000000000000000000000000010
    0000008c41cc2701000000020100000000000003000000660000008d85efb602000000010000000000000002010000000000000300000046
    0000000000000001080000000000000009000000000000000200000000070000000000000000000000000000000104000000000000000500
    00000000000006000000000000000300000070757410000000812c38c6030000000201000000000000030000000000000000000042544348
    50b682df6d000000040000008877665544332211020000000000000002000000000000000000000000000000010000000100000021000000
    8ff712940400000002000000000000000201000000000000030000000100000000000000001800000039ec05ca0500000002010000000000
    0003000000020000000000000010000000f80d20d706000000020000000a00000000000000040000000df367510700000000000042544348
    bb74e798000000000000000088776655443322110300000000000000020000000000000000000000000000000100000001
";

const SNAPSHOT_HEX: &str = "
    53594e4f44534e50020000000000010007000000000000000500000000000000c971b6572595ece8dabba8adeb6ed5d916380545e4d94921
    c555f69a979fbf63696d616765befcfb95
";

const IMAGE_HEX: &str = "
    53594e4f44534e50020000000000010007000000000000002b02000000000000e81aa2931fe8b48c63ac0e3e551e2e5f877d7ce84ac4b016
    c28db46904e21ca901530100000200000007000000000000000a000000000000000100000000000000000400000000000001000000000000
    00010000000000000003000000000000000100000002000000000000006e3101000000000000000000000000000000020000000200000000
    0000006e32020000000000000000000000000000000300000002000000000000006e33030000000000000000000000000000000000000000
    00000000000000000000000000000000000000030000000500000000000000020000000000000001000000ababababababababababababab
    ababababababababababababababababababab03000000abababababababababababababababababababababababababababababababab01
    0500000000000000abababababababababababababababababababababababababababababababab0921d8f6d78ddb14c723994d6181a2c5
    e4ecd810ef649cf4d3d18561a278f0ad025d0000000000000001000000000000000100000000000000090000000000000001000000000000
    0001000000000000000100000000000000060000000000000002000000010400000000000000646f6e6504000000000000000a0000000000
    0000021c0000000100000001000000000000000100000000000000010000000000000003050000000002000000031d000000010200000001
    0000000000000000000000000000000000000000000000031f0000000100000000010000000000000001000000000000006b010000000000
    000076fa108b82
";
