//! What the tab key offers: commands, the options of a command, and the names of nodes.

use crate::grammar::{LEADER, line_grammar};

/// Where the word under the cursor begins, and what it may become. `line` ends at the cursor.
pub fn candidates(line: &str, names: &[String], staged: bool) -> (usize, Vec<String>) {
    let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = &line[start..];
    let grammar = line_grammar(staged);
    let commands = || {
        let names = grammar.get_subcommands().flat_map(|command| {
            std::iter::once(command.get_name())
                .chain(command.get_visible_aliases())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        names.chain(["help".to_owned()])
    };
    let offered: Vec<String> = match line[..start].split_whitespace().next() {
        None => commands().collect(),
        Some("help") => commands().collect(),
        Some(command) if word.starts_with('-') => grammar
            .find_subcommand(command)
            .into_iter()
            .flat_map(|command| command.get_arguments().filter_map(|argument| argument.get_long()))
            .map(|long| format!("--{long}"))
            .collect(),
        Some("propose") => names.iter().map(|name| format!("@{name}")).collect(),
        Some("member") => match line[..start].split_whitespace().nth(1) {
            None => choices(&grammar, "member"),
            Some("remove") => names.to_vec(),
            Some("replace") => names.iter().map(|name| format!("{name}=")).collect(),
            Some(_) => Vec::new(),
        },
        Some("leader") => match line[..start].split_whitespace().nth(1) {
            None => choices(&grammar, "leader"),
            Some(_) => names.to_vec(),
        },
        Some("connect") => names.iter().map(|name| format!("{name}@")).collect(),
        Some("fail") => names.iter().cloned().chain([LEADER.to_owned()]).collect(),
        Some(command) => {
            let takes_node = |argument: &clap::Arg| argument.is_positional() && argument.get_id() == "node";
            match grammar.find_subcommand(command) {
                Some(command) if command.get_arguments().any(takes_node) => names.to_vec(),
                _ => Vec::new(),
            }
        }
    };
    let mut fitting: Vec<String> = offered.into_iter().filter(|candidate| candidate.starts_with(word)).collect();
    fitting.sort();
    (start, fitting)
}

/// The words of which a command takes one.
fn choices(grammar: &clap::Command, command: &str) -> Vec<String> {
    let arguments = grammar.find_subcommand(command).into_iter().flat_map(clap::Command::get_positionals);
    arguments.flat_map(clap::Arg::get_possible_values).map(|value| value.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> Vec<String> {
        candidates(line, &["n1".to_owned(), "n2".to_owned()], true).1
    }

    #[test]
    fn commands_come_first() {
        assert_eq!(offered("sta"), ["status"]);
        assert_eq!(offered("help lo"), ["log"]);
        assert_eq!(offered("  ex"), ["exit"]);
        assert!(offered("").contains(&"recover".to_owned()));
        assert_eq!(offered("member re"), ["remove", "replace"]);
        assert_eq!(offered("leader "), ["transfer"]);
        assert_eq!(candidates("rec", &[], false).1, ["receipt"], "only the demo can recover");
    }

    #[test]
    fn names_of_nodes_come_where_a_node_is_meant() {
        assert_eq!(offered("status "), ["n1", "n2"]);
        assert_eq!(offered("log n"), ["n1", "n2"]);
        assert_eq!(offered("slot 12 "), ["n1", "n2"]);
        assert_eq!(offered("propose @n2"), ["@n2"]);
        assert_eq!(offered("fail "), ["leader", "n1", "n2"]);
        assert_eq!(offered("put "), [""; 0]);
        assert_eq!(offered("member remove "), ["n1", "n2"]);
        assert_eq!(offered("member replace n1"), ["n1="]);
        assert_eq!(offered("leader transfer "), ["n1", "n2"]);
    }

    #[test]
    fn options_come_after_a_dash() {
        assert_eq!(offered("scan --l"), ["--limit"]);
        assert_eq!(candidates("get k --", &[], false), (6, vec!["--local".to_owned()]));
    }
}
