//! What the key-value store does, operation by operation.

use super::*;
use crate::paxos::{Place, Slot};

const CONTEXT: Context = Context { now_ms: 1, seed: 2, place: Place { slot: Slot(1), index: 1 } };

fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}

fn long(length: usize) -> Bytes {
    vec![b'x'; length].into()
}

fn apply(kv: &mut Kv, operation: &Operation) -> Answer {
    Answer::decode(&kv.apply(&CONTEXT, &codec::encode(operation))).unwrap()
}

fn ask(kv: &Kv, query: &Query) -> Answer {
    Answer::decode(&kv.query(&codec::encode(query))).unwrap()
}

fn put(kv: &mut Kv, key: &str, value: &str) {
    assert_eq!(apply(kv, &Operation::Put { key: bytes(key), value: bytes(value) }), Answer::Ok);
}

fn get(kv: &Kv, key: &str) -> Option<Bytes> {
    match ask(kv, &Query::Get { key: bytes(key) }) {
        Answer::Value(value) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn put_get_delete() {
    let mut kv = Kv::default();
    assert_eq!(get(&kv, "a"), None);
    put(&mut kv, "a", "1");
    put(&mut kv, "a", "2");
    assert_eq!(get(&kv, "a"), Some(bytes("2")));
    assert_eq!(apply(&mut kv, &Operation::Delete { key: bytes("a") }), Answer::Deleted { existed: true });
    assert_eq!(apply(&mut kv, &Operation::Delete { key: bytes("a") }), Answer::Deleted { existed: false });
    assert_eq!(kv, Kv::default());
}

#[test]
fn an_empty_key_and_an_empty_value_are_a_key_and_a_value() {
    let mut kv = Kv::default();
    put(&mut kv, "", "");
    assert_eq!(get(&kv, ""), Some(bytes("")));
}

#[test]
fn append_creates_and_answers_the_whole_value() {
    let mut kv = Kv::default();
    let append = |suffix: &str| Operation::Append { key: bytes("a"), suffix: bytes(suffix) };
    assert_eq!(apply(&mut kv, &append("he")), Answer::Appended { value: bytes("he") });
    assert_eq!(apply(&mut kv, &append("llo")), Answer::Appended { value: bytes("hello") });
    assert_eq!(get(&kv, "a"), Some(bytes("hello")));
}

#[test]
fn cas_swaps_what_it_expects_and_shows_what_it_finds() {
    let mut kv = Kv::default();
    let cas = |expected: Option<&str>, value: &str| Operation::Cas {
        key: bytes("a"),
        expected: expected.map(bytes),
        value: bytes(value),
    };
    assert_eq!(apply(&mut kv, &cas(Some("0"), "1")), Answer::NotSwapped { actual: None });
    assert_eq!(apply(&mut kv, &cas(None, "1")), Answer::Swapped);
    assert_eq!(apply(&mut kv, &cas(None, "2")), Answer::NotSwapped { actual: Some(bytes("1")) });
    assert_eq!(apply(&mut kv, &cas(Some("1"), "2")), Answer::Swapped);
    assert_eq!(get(&kv, "a"), Some(bytes("2")));
}

#[test]
fn a_register_is_decided_on_the_first_value_ever_and_put_cannot_touch_it() {
    let mut kv = Kv::default();
    let decide = |value: &str| Operation::Decide { key: bytes("k"), value: bytes(value) };
    put(&mut kv, "k", "ordinary");
    assert_eq!(ask(&kv, &Query::Decided { key: bytes("k") }), Answer::Value(None));
    assert_eq!(apply(&mut kv, &decide("first")), Answer::Decided { value: bytes("first") });
    assert_eq!(apply(&mut kv, &decide("second")), Answer::Decided { value: bytes("first") });
    put(&mut kv, "k", "ordinary again");
    apply(&mut kv, &Operation::Delete { key: bytes("k") });
    assert_eq!(ask(&kv, &Query::Decided { key: bytes("k") }), Answer::Value(Some(bytes("first"))));
    assert_eq!(get(&kv, "k"), None);
}

#[test]
fn proposals_are_counted() {
    let mut kv = Kv::default();
    put(&mut kv, "a", "1");
    apply(&mut kv, &Operation::Decide { key: bytes("k"), value: bytes("v") });
    let before = kv.digest();
    for _ in 0..3 {
        assert_eq!(apply(&mut kv, &Operation::Propose { value: bytes("v") }), Answer::Ok);
    }
    assert_eq!(ask(&kv, &Query::Count), Answer::Counts { keys: 1, decided: 1, proposed: 3 });
    assert_ne!(kv.digest(), before);
}

#[test]
fn what_is_at_its_limit_is_taken_and_one_byte_more_changes_nothing() {
    let mut kv = Kv::default();
    let key = long(MAX_KEY_BYTES);
    let value = long(MAX_VALUE_BYTES);
    let expected = Some(value.clone());
    assert_eq!(apply(&mut kv, &Operation::Put { key: key.clone(), value: value.clone() }), Answer::Ok);
    let cas = Operation::Cas { key: key.clone(), expected, value };
    assert_eq!(apply(&mut kv, &cas), Answer::Swapped, "the largest operation of all is within the decoder's limit");

    let before = kv.clone();
    let too_long = long(MAX_VALUE_BYTES + 1);
    let value_too_large = Answer::Error(KvError::ValueTooLarge { length: MAX_VALUE_BYTES as u64 + 1 });
    for operation in [
        Operation::Put { key: bytes("a"), value: too_long.clone() },
        Operation::Append { key: key.clone(), suffix: bytes("y") },
        Operation::Append { key: bytes("new"), suffix: too_long.clone() },
        Operation::Cas { key: bytes("a"), expected: None, value: too_long.clone() },
        Operation::Decide { key: bytes("a"), value: too_long.clone() },
        Operation::Propose { value: too_long },
    ] {
        assert_eq!(apply(&mut kv, &operation), value_too_large);
    }
    let key = long(MAX_KEY_BYTES + 1);
    let value = bytes("v");
    let key_too_large = Answer::Error(KvError::KeyTooLarge { length: MAX_KEY_BYTES as u64 + 1 });
    for operation in [
        Operation::Put { key: key.clone(), value: value.clone() },
        Operation::Append { key: key.clone(), suffix: value.clone() },
        Operation::Delete { key: key.clone() },
        Operation::Cas { key: key.clone(), expected: None, value: value.clone() },
        Operation::Decide { key: key.clone(), value },
    ] {
        assert_eq!(apply(&mut kv, &operation), key_too_large);
    }
    assert_eq!(ask(&kv, &Query::Get { key: key.clone() }), key_too_large);
    assert_eq!(ask(&kv, &Query::Decided { key }), key_too_large);
    assert_eq!(kv, before);
}

#[test]
fn bytes_that_are_no_operation_are_answered_and_change_nothing() {
    let mut kv = Kv::default();
    put(&mut kv, "a", "1");
    let before = kv.clone();
    let operation = codec::encode(&Operation::Put { key: bytes("a"), value: bytes("2") });
    let mut samples: Vec<Vec<u8>> = (0..operation.len()).map(|length| operation[..length].to_vec()).collect();
    samples.push([&operation[..], &[0]].concat());
    samples.push(vec![255; 40]);
    samples.push(vec![0; MAX_OPERATION_BYTES + 1]);
    for sample in samples {
        assert_eq!(Answer::decode(&kv.apply(&CONTEXT, &sample)), Ok(Answer::Error(KvError::Malformed)));
        assert_eq!(Answer::decode(&kv.query(&[255])), Ok(Answer::Error(KvError::Malformed)));
    }
    assert_eq!(kv, before);
}

fn keys_of(answer: &Answer) -> (Vec<&str>, Option<&str>) {
    let Answer::Page { entries, next } = answer else { panic!("{answer:?}") };
    (entries.iter().map(|(key, _)| text(key)).collect(), next.as_ref().map(text))
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_scan_pages_through_a_prefix_in_order() {
    let mut kv = Kv::default();
    for key in ["b2", "a", "b1", "b", "c", "b3"] {
        put(&mut kv, key, "v");
    }
    let page = |scan: Scan| ask(&kv, &Query::Scan(scan));
    assert_eq!(keys_of(&page(Scan::default())), (vec!["a", "b", "b1", "b2", "b3", "c"], None));
    let b = Scan { prefix: bytes("b"), limit: 2, ..Scan::default() };
    assert_eq!(keys_of(&page(b.clone())), (vec!["b", "b1"], Some("b1")));
    let b = Scan { after: Some(bytes("b1")), ..b };
    assert_eq!(keys_of(&page(b)), (vec!["b2", "b3"], None), "a page that ends with the prefix says so");
    assert_eq!(keys_of(&page(Scan { from: bytes("b2"), ..Scan::default() })), (vec!["b2", "b3", "c"], None));
    let early = Scan { prefix: bytes("b"), after: Some(bytes("a")), ..Scan::default() };
    assert_eq!(keys_of(&page(early)).0, ["b", "b1", "b2", "b3"], "a cursor before the prefix");
    let nothing = Scan { space: Space::Decided, ..Scan::default() };
    assert_eq!(page(nothing), Answer::Page { entries: vec![], next: None });
}

#[test]
fn a_page_is_bounded_in_bytes_too() {
    let mut kv = Kv::default();
    for key in ["a", "b", "c"] {
        apply(&mut kv, &Operation::Put { key: bytes(key), value: long(MAX_VALUE_BYTES) });
    }
    let answer = ask(&kv, &Query::Scan(Scan::default()));
    assert_eq!(keys_of(&answer), (vec!["a"], Some("a")), "one entry is always there");
}

#[test]
fn the_digest_depends_on_the_content_and_not_on_the_way_there() {
    let mut straight = Kv::default();
    put(&mut straight, "a", "1");
    put(&mut straight, "b", "2");
    let mut roundabout = Kv::default();
    for (key, value) in [("b", "x"), ("c", "3"), ("a", "1"), ("b", "2")] {
        put(&mut roundabout, key, value);
    }
    assert_ne!(straight.digest(), roundabout.digest());
    apply(&mut roundabout, &Operation::Delete { key: bytes("c") });
    assert_eq!(straight.digest(), roundabout.digest());
    assert_eq!(straight, roundabout);
}

#[test]
fn the_digest_tells_contents_apart() {
    let with = |operations: &[(bool, &str, &str)]| {
        let mut kv = Kv::default();
        for (decide, key, value) in operations {
            let (key, value) = (bytes(key), bytes(value));
            let operation = if *decide { Operation::Decide { key, value } } else { Operation::Put { key, value } };
            apply(&mut kv, &operation);
        }
        kv.digest()
    };
    let digests = [
        with(&[]),
        with(&[(false, "a", "1")]),
        with(&[(true, "a", "1")]),
        with(&[(false, "a1", "")]),
        with(&[(false, "", "a1")]),
        with(&[(false, "a", "2"), (false, "b", "1")]),
        with(&[(false, "a", "1"), (false, "b", "2")]),
    ];
    for (i, one) in digests.iter().enumerate() {
        assert!(digests[i + 1..].iter().all(|other| one != other), "number {i}");
    }
}

fn parts(kv: &Kv) -> Vec<Vec<u8>> {
    kv.freeze().parts().collect()
}

fn restored(parts: Vec<Vec<u8>>) -> Result<Kv, String> {
    let mut kv = Kv::default();
    kv.restore(&mut parts.into_iter()).map(|()| kv)
}

#[test]
fn a_snapshot_restores_the_same_state_and_digest() {
    let mut kv = Kv::default();
    put(&mut kv, "b", "2");
    put(&mut kv, "a", "1");
    apply(&mut kv, &Operation::Decide { key: bytes("k"), value: bytes("v") });
    apply(&mut kv, &Operation::Propose { value: bytes("v") });
    let mut other = Kv::default();
    put(&mut other, "stale", "gone");
    other.restore(&mut kv.freeze().parts()).unwrap();
    assert_eq!(other, kv);
    assert_eq!(other.digest(), kv.freeze().digest());
    assert_eq!(parts(&other), parts(&kv));
}

#[test]
fn a_large_store_is_frozen_in_parts_of_bounded_size_that_depend_on_its_content_alone() {
    let value = |n: usize| Bytes::from(vec![n as u8; 1000 + n % 97]);
    let key = |n: usize| Bytes::from(format!("key {n:06}"));
    let put = |kv: &mut Kv, n| {
        kv.execute(Operation::Put { key: key(n), value: value(n) }).unwrap();
    };
    let (mut up, mut down) = (Kv::default(), Kv::default());
    (0..5000).for_each(|n| put(&mut up, n));
    (0..6000).rev().for_each(|n| put(&mut down, n));
    (5000..6000).for_each(|n| drop(down.execute(Operation::Delete { key: key(n) }).unwrap()));
    let whole = parts(&up);
    assert_eq!(whole.len(), 1 + 6);
    assert!(whole.iter().all(|part| part.len() < PART_BYTES + 4096));
    assert!(whole == parts(&down), "whatever the way was");
    assert!(restored(whole.clone()).unwrap() == up);
    assert!(restored(whole[..6].to_vec()).unwrap_err().contains("not whole"));
}

#[test]
fn what_is_frozen_stays_as_it_was() {
    let mut kv = Kv::default();
    put(&mut kv, "a", "1");
    let (frozen, before) = (kv.freeze(), kv.clone());
    put(&mut kv, "a", "2");
    put(&mut kv, "b", "3");
    assert_eq!(restored(frozen.parts().collect()).unwrap(), before);
    assert_eq!(frozen.digest(), before.digest());
}

#[test]
fn a_bad_snapshot_changes_nothing() {
    let mut kv = Kv::default();
    put(&mut kv, "a", "1");
    let before = kv.clone();
    let whole = parts(&kv);
    let mut refused = |parts: Vec<Vec<u8>>| kv.restore(&mut parts.into_iter()).unwrap_err();
    for part in 0..whole.len() {
        for length in 0..whole[part].len() {
            let mut hurt = whole.clone();
            hurt[part].truncate(length);
            refused(hurt);
        }
        let mut hurt = whole.clone();
        hurt[part].push(0);
        refused(hurt);
    }
    refused(vec![]);
    refused(whole[..1].to_vec());
    let head = |format, keys| codec::encode(&Head { format, keys, decided: 0, proposed: 0 });
    let run =
        |keys: &[Bytes]| codec::encode(&(Space::Keys, keys.iter().map(|key| (key, bytes("v"))).collect::<Vec<_>>()));
    let ordered = run(&[bytes("a"), bytes("b")]);
    assert!(refused(vec![head(2, 2), run(&[bytes("b"), bytes("a")])]).contains("not in order"));
    assert!(refused(vec![head(2, 2), run(&[bytes("a"), bytes("a")])]).contains("not in order"));
    assert!(refused(vec![head(2, 4), ordered.clone(), ordered.clone()]).contains("not in order"));
    assert!(refused(vec![head(2, 1), run(&[long(5000)])]).contains("beyond the limits"));
    assert!(refused(vec![head(1, 2), ordered]).contains("format 1"));
    assert_eq!(kv, before);
}

#[test]
fn a_clone_is_a_picture_that_later_operations_do_not_touch() {
    let mut kv = Kv::default();
    put(&mut kv, "a", "1");
    let picture = kv.clone();
    put(&mut kv, "a", "2");
    assert_eq!(get(&picture, "a"), Some(bytes("1")));
    assert_ne!(picture.digest(), kv.digest());
}

#[test]
fn operations_keep_their_encoding() {
    let put = Operation::Put { key: bytes("k"), value: bytes("v") };
    assert_eq!(codec::encode(&put), b"\0\0\0\0\x01\0\0\0\0\0\0\0k\x01\0\0\0\0\0\0\0v");
    let propose = Operation::Propose { value: bytes("v") };
    assert_eq!(codec::encode(&propose), b"\x05\0\0\0\x01\0\0\0\0\0\0\0v");
    assert_eq!(codec::encode(&Answer::Deleted { existed: true }), b"\x02\0\0\0\x01");
}
