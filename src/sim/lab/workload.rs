//! What clients ask, and what they must be told.

use crate::paxos::Bytes;
use crate::sim::history::{Call, Told};

/// A call on a key, and its answer.
pub type Step = (u32, Call, Told);

/// Something of everything for one client alone: 14 writes, so that as many slots are filled, and questions in between.
pub fn simple() -> Vec<Step> {
    let value = |text: &str| Bytes::from(text);
    let holds = |text: &str| Told::Value(Some(text.into()));
    let put = |key, text| (key, Call::Put(value(text)), Told::Done);
    let append = |key, text, whole: &str| (key, Call::Append(value(text)), Told::Appended(whole.into()));
    let get = |key, told| (key, Call::Get, told);
    vec![
        get(1, Told::Value(None)),
        append(1, "one", "one"),
        append(1, "two", "onetwo"),
        get(1, holds("onetwo")),
        put(1, "three"),
        get(1, holds("three")),
        put(2, "four"),
        append(2, "five", "fourfive"),
        get(1, holds("three")),
        get(2, holds("fourfive")),
        (2, Call::Cas(Some(value("fourfive")), value("six")), Told::Swapped),
        (2, Call::Cas(Some(value("fourfive")), value("seven")), Told::NotSwapped(Some(value("six")))),
        (3, Call::Cas(None, value("eight")), Told::Swapped),
        (1, Call::Delete, Told::Deleted(true)),
        get(1, Told::Value(None)),
        (4, Call::Delete, Told::Deleted(false)),
        append(1, "nine", "nine"),
        put(4, "ten"),
        get(4, holds("ten")),
        put(5, "eleven"),
        append(5, "twelve", "eleventwelve"),
        get(5, holds("eleventwelve")),
        get(2, holds("six")),
        get(3, holds("eight")),
    ]
}

/// What only this client writes, and only once.
pub fn unique(client: usize, count: usize) -> Bytes {
    format!("{client}.{count};").into()
}

/// The client appends so many times to a key of its own.
pub fn own_appends(client: usize, count: usize) -> Vec<Step> {
    let mut whole = String::new();
    let steps = (0..count).map(|count| {
        let suffix = unique(client, count);
        whole.push_str(&String::from_utf8_lossy(&suffix));
        (1 + client as u32, Call::Append(suffix), Told::Appended(whole.as_str().into()))
    });
    steps.collect()
}

/// The step of that number in an endless run of the client on a key of its own: it writes, then asks.
pub fn endless(client: usize, count: usize) -> Step {
    let value = unique(client, count / 2);
    let key = 1 + client as u32;
    if count.is_multiple_of(2) {
        (key, Call::Put(value), Told::Done)
    } else {
        (key, Call::Get, Told::Value(Some(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simple_workload_writes_fourteen_times() {
        assert_eq!(simple().iter().filter(|(_, call, _)| !call.is_read()).count(), 14);
    }

    #[test]
    fn an_endless_run_asks_for_what_it_wrote() {
        assert_eq!(endless(3, 6), (4, Call::Put("3.3;".into()), Told::Done));
        assert_eq!(endless(3, 7), (4, Call::Get, Told::Value(Some("3.3;".into()))));
    }
}
