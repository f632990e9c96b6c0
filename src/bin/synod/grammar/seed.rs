//! The names that commands had in the bank from which this one was made: `PrintLog(1)` is `log n1`.
//!
//! With parentheses or without, in upper or lower case; a bare number is the node of that number.

/// A line in our own words. One that is in them already stays as it is.
pub fn in_our_words(typed: &str) -> String {
    let line = typed.trim();
    let end = line.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let is_call = rest.starts_with('(') && rest.ends_with(')');
    let rest = rest.trim();
    let inside = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let separated = |letter: char| letter.is_whitespace() || letter == ',';
    let words: Vec<&str> = inside.unwrap_or(rest).split(separated).filter(|word| !word.is_empty()).collect();
    match (name.to_ascii_lowercase().as_str(), words.as_slice()) {
        ("printdb", []) => "db bank".to_owned(),
        ("printdb", [n]) => format!("db bank {}", node(n)),
        ("printlog", [n]) => format!("log {}", node(n)),
        ("printstatus", [slot]) => format!("slot {slot}"),
        ("printstatus", [n, slot]) => format!("slot {slot} {}", node(n)),
        ("printview", []) => "view".to_owned(),
        ("printview", [n]) => format!("view {}", node(n)),
        // Each of its clients had a name; here, whoever types is the client.
        ("transaction", [_, from, to, amount]) => format!("transfer {from} {to} {amount}"),
        ("failleader", []) => "fail leader".to_owned(),
        ("activate", [n]) => format!("recover {}", node(n)),
        ("deactivate", [n]) => format!("fail {}", node(n)),
        ("validatestate", []) => "nodes".to_owned(),
        ("resetdb", []) => "reset bank".to_owned(),
        // Ours, with parentheses: right behind the name, or else they belong to a value.
        (_, words) if is_call && !name.is_empty() => format!("{name} {}", words.join(" ")),
        _ => typed.to_owned(),
    }
}

fn node(word: &str) -> String {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { format!("n{word}") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_old_are_ours() {
        for (old, ours) in [
            ("PrintDB", "db bank"),
            ("PrintDB()", "db bank"),
            ("printDB 2", "db bank n2"),
            ("PrintLog(1)", "log n1"),
            ("PrintLog n1", "log n1"),
            ("PrintStatus(12)", "slot 12"),
            ("printStatus 3 12", "slot 12 n3"),
            ("printStatus( 3, 12 )", "slot 12 n3"),
            ("PrintView", "view"),
            ("PrintView(5)", "view n5"),
            ("transaction A A B 3", "transfer A B 3"),
            ("failLeader", "fail leader"),
            ("activate 3", "recover n3"),
            ("deactivate n4", "fail n4"),
            ("validateState", "nodes"),
            ("resetDB", "reset bank"),
            ("transfer(A, B, 3)", "transfer A B 3"),
            ("accounts()", "accounts"),
        ] {
            assert_eq!(in_our_words(old).trim_end(), ours);
        }
    }

    #[test]
    fn our_own_words_stay() {
        for line in ["put k '(a, b)'", "propose (x)", "log n1 3..9", "", "  # a comment", "printlog", "put (k) (v)"] {
            assert_eq!(in_our_words(line), line);
        }
    }
}
