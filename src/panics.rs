//! What a panic said.

use std::any::Any;

/// The words of a panic that was caught.
pub(crate) fn said(panic: &(dyn Any + Send)) -> &str {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::said;

    #[test]
    fn a_panic_is_quoted() {
        let number = 7;
        let panics: [fn(u32); 3] =
            [|_| panic!("plain"), |number| panic!("number {number}"), |number| std::panic::panic_any(number)];
        let words = panics.map(|panics| said(&*catch_unwind(|| panics(number)).expect_err("it panics")).to_owned());
        assert_eq!(words, ["plain", "number 7", "a panic without words"]);
    }
}
