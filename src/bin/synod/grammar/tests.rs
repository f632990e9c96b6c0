use std::collections::BTreeSet;

use super::*;

fn line(line: &str) -> Line {
    parse_line(line, true).unwrap_or_else(|stop| panic!("`{line}`: {stop:?}"))
}

fn wrong(line: &str) -> String {
    match parse_line(line, true) {
        Err(Stop::Usage(failure)) => {
            assert_eq!(failure.exit_code(), 2);
            let text = failure.to_string();
            assert!(!text.contains('\n'), "more than one line for `{line}`: {text}");
            text
        }
        other => panic!("`{line}`: {other:?}"),
    }
}

fn program(words: &str) -> Program {
    let words = words::split(words).unwrap();
    parse_arguments(words.into_iter().map(OsString::from)).unwrap()
}

fn text(text: &str) -> arguments::Text {
    arguments::Text(text.as_bytes().to_vec())
}

#[test]
fn a_line_of_the_repl_and_a_subcommand_are_the_same_command() {
    for words in [
        "propose hello",
        "propose @n2 hello",
        "chosen 12.1",
        "paxos k v",
        "put k v",
        "get k --local n2",
        "append k v",
        "delete k",
        "cas k a b",
        "cas k --absent b",
        "scan user/ --limit 7",
        "nodes",
        "connect n2@127.0.0.1:7102",
        "leader",
        "leader transfer n3",
        "member list",
        "member add n4=127.0.0.1:7104 --wait",
        "member remove n2 --force",
        "member replace n2@127.0.0.1:7102",
        "status n1",
        "log n1 3..9",
        "slot 12.1 n1",
        "view",
        "db n3",
        "db bank n3",
        "open A 'Ann Lee'",
        "transfer A B 3 --id 17",
        "deposit A -1",
        "withdraw A 2",
        "balance A",
        "accounts",
        "reset bank",
        "history A --limit 3",
        "receipt 00000000-0000-0001-0000-000000000000",
    ] {
        let Line::Cluster(command) = line(words) else { panic!("{words}") };
        let Program::Single(connect, single) =
            program(&format!("synod {words} --connect h:1,[::1]:2 --deadline 0.5 --json"))
        else {
            panic!("{words}")
        };
        assert_eq!(single, command);
        assert_eq!(connect.connect, ["h:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
        assert_eq!(connect.deadline, std::time::Duration::from_millis(500));
        assert_eq!((connect.json, connect.cluster.as_str()), (true, "synod"));
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in line_grammar(true).get_subcommands_mut() {
        let help = command.render_help().to_string();
        assert!(help.contains("Example"), "{help}");
        let name = command.get_name();
        assert!(help.contains(&format!("Usage: {name}")), "{help}");
        match parse_line(&format!("help {name}"), true) {
            Err(Stop::Show(shown)) => assert!(shown.contains("Example"), "{shown}"),
            other => panic!("{other:?}"),
        }
    }
    let mut grammar = command_line();
    grammar.build();
    for command in grammar.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let help = command.render_help().to_string();
        assert!(help.contains("Example") && !help.starts_with("How to reach"), "{help}");
        assert!(help.contains(&format!("Usage: synod {}", command.get_name())), "{help}");
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for example in examples.lines().skip(1).take_while(|line| !line.is_empty()) {
            assert!(example.starts_with(&format!("  synod {}", command.get_name())), "{help}");
        }
    }
}

#[test]
fn the_examples_in_the_help_parse() {
    let mut grammar = line_grammar(true);
    for command in grammar.get_subcommands_mut() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for example in help.lines().skip(1) {
            let example = example.trim().split("      ").next().unwrap_or_default();
            line(example);
        }
    }
}

#[test]
fn the_list_of_commands_names_them_all() {
    let Err(Stop::Show(list)) = parse_line("help", true) else { panic!("no list") };
    for name in line_grammar(true).get_subcommands().map(clap::Command::get_name) {
        assert!(list.contains(name), "{name} is missing in:\n{list}");
    }
    let outside: BTreeSet<_> = command_line().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    assert!(!outside.contains("exit") && !outside.contains("fail"));
}

#[test]
fn fail_and_recover_exist_in_the_demo_only() {
    assert!(matches!(line("fail leader"), Line::Stage(StageCommand::Fail { .. })));
    assert!(matches!(line("recover n2"), Line::Stage(StageCommand::Recover { .. })));
    assert!(matches!(parse_line("fail n2", false), Err(Stop::Usage(_))));
}

#[test]
fn blank_lines_and_comments_are_no_commands() {
    assert_eq!(line(""), Line::Blank);
    assert_eq!(line("   \t"), Line::Blank);
    assert_eq!(line("# put k v"), Line::Blank);
    assert_eq!(line("exit"), Line::Exit);
    assert_eq!(line("quit"), Line::Exit);
}

#[test]
fn words_are_quoted_as_in_a_shell() {
    let quoted = line("put 'a key' \"a \\\"value\\\"\"");
    assert_eq!(quoted, Line::Cluster(Command::Put { key: text("a key"), value: text("a \"value\"") }));
    assert!(wrong("put k 'v").contains("quotes do not balance"));
}

#[test]
fn values_may_start_with_a_dash() {
    assert_eq!(line("put k -- -v"), Line::Cluster(Command::Put { key: text("k"), value: text("-v") }));
    assert_eq!(line("put k -5"), Line::Cluster(Command::Put { key: text("k"), value: text("-5") }));
    assert_eq!(line("put k -"), Line::Cluster(Command::Put { key: text("k"), value: text("-") }));
    assert_eq!(line("get -- --local"), Line::Cluster(Command::Get { key: text("--local"), local: false, node: None }));
    assert!(wrong("put k -v").contains("use '-- -v'"));
}

#[cfg(unix)]
#[test]
fn a_subcommands_words_may_be_any_bytes() {
    use std::os::unix::ffi::OsStringExt;
    let words = [b"synod".to_vec(), b"put".to_vec(), b"k".to_vec(), vec![0xff, 1]];
    let parsed = parse_arguments(words.into_iter().map(OsString::from_vec)).unwrap();
    let Program::Single(_, Command::Put { value, .. }) = parsed else { panic!("{parsed:?}") };
    assert_eq!(value.0, [0xff, 1]);
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    assert_eq!(wrong("put k"), "VALUE is missing; usage: put KEY VALUE");
    assert_eq!(wrong("put"), "KEY, VALUE are missing; usage: put KEY VALUE");
    assert_eq!(wrong("get"), "KEY is missing; usage: get KEY [--local [NODE]]");
    assert!(wrong("nodes n1").starts_with("'n1' is one word too many"));
    assert!(wrong("put k v --nosuch").starts_with("there is no option '--nosuch'; "));
    assert_eq!(wrong("cas k"), "EXPECTED is missing; usage: cas KEY EXPECTED NEW, or cas KEY --absent NEW");
    assert_eq!(wrong("scan --limit 0"), "--limit: 0 is not in 1..=10000");
    assert!(wrong("chosen x").starts_with("`x` is not a slot: write SLOT"));
    assert!(wrong("propose a b c").contains('c'));
    assert!(wrong("propose n1 hello").contains("write @NODE VALUE"));
    assert!(wrong("propose @n1").contains("takes a value too"));
    assert!(wrong("cas k v").contains("cas KEY --absent NEW"));
    assert!(wrong("cas k --absent a b").contains("no expected value"));
    assert!(wrong("log n1 n2").contains("one node and one range"));
    assert!(wrong("get k n2").contains("--local"));
    assert!(wrong("frobnicate").contains("there is no command 'frobnicate'"));
    assert!(wrong("leader transfer").contains("usage: leader transfer NODE"));
    assert!(wrong("leader n3").contains("transfer"));
    assert!(wrong("member").contains("list|add|remove|replace is missing"));
    assert!(wrong("member add").contains("who comes is missing"));
    assert!(wrong("member add n4").contains("where n4 listens is missing; usage: member add NAME=HOST:PORT"));
    assert!(wrong("member add n4=h:0").contains("port 0"));
    assert!(wrong("member add n4=h:1 --force").contains("needs no --force"));
    assert!(wrong("member remove").contains("who goes is missing"));
    assert!(wrong("member remove n4=h:1").contains("by its name alone"));
    assert!(wrong("member remove n4 --wait").contains("--wait is for members that come"));
    assert!(wrong("member list n4").contains("takes nothing more"));
    assert!(wrong("member drop n4").contains("remove"));
    assert!(wrong("statsu").contains("'status'"), "a near miss is offered");
}

#[test]
fn slots_and_ranges_are_checked() {
    for word in ["0", "x", "1.0", "0.1", "1.", ".1", "1.2.3", "-1", "99999999999999999999"] {
        wrong(&format!("chosen -- {word}"));
        wrong(&format!("slot -- {word}"));
    }
    for word in ["0..3", "9..3", "a..b", "1...3", "99999999999999999999"] {
        wrong(&format!("log {word}"));
    }
    let range = |words: &str| match line(words) {
        Line::Cluster(Command::Log(args)) => {
            let (_, range) = args.parts().unwrap();
            range.map(|range| (range.first.0, range.upto.0))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(range("log"), None);
    assert_eq!(range("log 3..9"), Some((3, 9)));
    assert_eq!(range("log 3.. n1"), Some((3, u64::MAX)));
    assert_eq!(range("log n1 ..9"), Some((1, 9)));
    assert_eq!(range("log 7"), Some((7, 7)));
}

#[test]
fn addresses_and_names_are_checked() {
    for (word, because) in [
        ("n2@h", "the port is missing"),
        ("n2@:1", "the host is missing"),
        ("n2@h:70000", "up to 65535"),
        ("n2@::1:7101", "goes in brackets"),
        ("n2@[x]:1", "no IPv6 address"),
        ("n2", "write NAME@HOST:PORT"),
        ("2n@h:1", "a letter first"),
        ("n%@h:1", "is not a node's name"),
        ("n2@h:0", "port 0"),
    ] {
        let said = wrong(&format!("connect {word}"));
        assert!(said.contains(because), "`{word}`: {said}");
    }
    assert!(matches!(line("connect n2@[::1]:7101"), Line::Cluster(Command::Connect { .. })));
}

#[test]
fn a_deadline_is_a_positive_number_of_seconds() {
    for word in ["0", "-1", "nan", "inf", "1e9", "soon"] {
        let words = ["synod", "leader", "--deadline", word].map(OsString::from);
        assert!(parse_arguments(words).is_err(), "{word}");
    }
}

#[test]
fn a_size_is_a_number_of_bytes_or_has_a_letter() {
    let size = size_from(1024);
    for (word, bytes) in [("1024", 1 << 10), ("1k", 1 << 10), ("65536", 1 << 16), ("64M", 64 << 20), ("1G", 1 << 30)] {
        assert_eq!(size(word), Ok(bytes));
    }
    for word in ["", "M", "-1", "+5000", "1.5G", "64MB", "64 M", "99999999T", "64é"] {
        assert!(size(word).unwrap_err().contains("is not a size: write bytes, or K, M, G or T"), "{word}");
    }
    assert_eq!(size("1023").unwrap_err(), "`1023` is too small: at least 1K");
    assert!(size_from(1500)("0").unwrap_err().ends_with("at least 1500"));
}
