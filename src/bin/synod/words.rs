//! A line into words, quoted as in a shell; and `#` begins a comment, as there.

use crate::answer::Failure;

/// The words of a line; none if it is blank or a comment.
pub fn split(line: &str) -> Result<Vec<String>, Failure> {
    shlex::split(line).ok_or_else(|| {
        Failure::usage(format!("the quotes do not balance in: {}; close the quote, or escape it with \\", line.trim()))
    })
}

/// A word as one would have to type it.
pub fn quote(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| format!("{word:?}"), |quoted| quoted.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_in_a_shell() {
        assert_eq!(split("put k 'a b' \"c d\" e\\ f ''").unwrap(), ["put", "k", "a b", "c d", "e f", ""]);
        assert_eq!(split("  # a comment").unwrap(), [""; 0]);
        assert_eq!(split("get k # why not").unwrap(), ["get", "k"]);
    }

    #[test]
    fn quotes_that_do_not_balance_are_a_usage_error_of_one_line() {
        let failure = split("put k 'v").unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().contains("put k 'v") && !failure.to_string().contains('\n'));
    }

    #[test]
    fn a_quoted_word_splits_into_itself() {
        for word in ["plain", "a b", "it's", "", "#x", "/tmp/a$b"] {
            assert_eq!(split(&quote(word)).unwrap(), [word]);
        }
    }
}
