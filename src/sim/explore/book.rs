//! What the clients asked and were told, and whether there is an order in which it all makes sense.
//!
//! A client has one wish at a time. It sends it to whichever node, more than once if it likes, and takes the first result.
//! The next wish begins when it is first sent, which is as late as it can be: the later a wish begins, the more must
//! precede it, and the more is checked (Herlihy and Wing 1990, section 2.2).

use std::collections::BTreeMap;

use super::notes::Wish;

/// All clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Book(Vec<Page>);

/// One client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Page {
    done: Vec<Done>,
    /// The present wish, once it was sent: how many wishes of each client were done when it began.
    began: Option<Vec<u8>>,
    /// How often it was sent.
    sends: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Done {
    began: Vec<u8>,
    result: Vec<u8>,
}

impl Book {
    /// Nobody has asked for anything.
    pub fn new(clients: usize) -> Book {
        Book(vec![Page::default(); clients])
    }

    /// The client sends its present wish.
    pub fn send(&mut self, client: usize) {
        let done: Vec<u8> = self.0.iter().map(|page| page.done.len() as u8).collect();
        let page = &mut self.0[client];
        page.began.get_or_insert(done);
        page.sends += 1;
    }

    /// The client hears the result of its present wish.
    pub fn hear(&mut self, client: usize, result: Vec<u8>) {
        let page = &mut self.0[client];
        if let Some(began) = page.began.take() {
            page.done.push(Done { began, result });
            page.sends = 0;
        }
    }

    /// How many wishes of this client are done: the present one has that index.
    pub fn done(&self, client: usize) -> usize {
        self.0[client].done.len()
    }

    /// How often the present wish was sent.
    pub fn sends(&self, client: usize) -> u8 {
        self.0[client].sends
    }

    /// The results that this client was told.
    pub fn results(&self, client: usize) -> impl Iterator<Item = &[u8]> {
        self.0[client].done.iter().map(|done| &*done.result)
    }

    /// Whether some order of the wishes explains every result: one that agrees with real time, in which each wish finds
    /// what those before it left. A wish without a result may or may not have had its effect.
    pub fn is_linearizable(&self, wishes: &[Vec<Wish>]) -> bool {
        self.continues(wishes, &mut vec![0; self.0.len()], &mut BTreeMap::new())
    }

    /// Whether the order can be continued, once the first `taken` wishes of each client are in it.
    fn continues(&self, wishes: &[Vec<Wish>], taken: &mut Vec<u8>, texts: &mut BTreeMap<u8, Vec<u8>>) -> bool {
        if self.0.iter().zip(&*taken).all(|(page, taken)| usize::from(*taken) >= page.done.len()) {
            return true;
        }
        for client in 0..self.0.len() {
            let (page, index) = (&self.0[client], usize::from(taken[client]));
            let (began, result) = match (page.done.get(index), &page.began) {
                (Some(done), _) => (&done.began, Some(&done.result)),
                (None, Some(began)) if index == page.done.len() => (began, None),
                _ => continue,
            };
            // What was done when it began stands before it.
            if began.iter().zip(&*taken).any(|(before, taken)| taken < before) {
                continue;
            }
            let wish = &wishes[client][index];
            let text = texts.get(&wish.key()).cloned().unwrap_or_default();
            let mut changed = text.clone();
            let answer = wish.act(&mut changed);
            if result.is_some_and(|result| *result != answer) {
                continue;
            }
            texts.insert(wish.key(), changed);
            taken[client] += 1;
            if self.continues(wishes, taken, texts) {
                return true;
            }
            taken[client] -= 1;
            texts.insert(wish.key(), text);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<Vec<Wish>> {
        vec![vec![Wish::Append(1, "x"), Wish::Read(1)], vec![Wish::Append(1, "y")]]
    }

    fn told(book: &mut Book, client: usize, result: &str) {
        book.hear(client, result.as_bytes().to_vec());
    }

    #[test]
    fn appends_that_grow_from_one_another_are_linearizable() {
        let mut book = Book::new(2);
        book.send(0);
        book.send(1);
        told(&mut book, 0, "yx");
        assert!(book.is_linearizable(&two()), "y has had its effect, and no result yet");
        told(&mut book, 1, "y");
        assert!(book.is_linearizable(&two()));
        book.send(0);
        told(&mut book, 0, "yx");
        assert!(book.is_linearizable(&two()));
    }

    #[test]
    fn results_that_do_not_grow_from_one_another_are_not() {
        let mut book = Book::new(2);
        book.send(0);
        book.send(1);
        told(&mut book, 0, "x");
        told(&mut book, 1, "y");
        assert!(!book.is_linearizable(&two()), "one of them was forgotten");
    }

    #[test]
    fn what_was_done_before_a_wish_began_is_seen() {
        let mut book = Book::new(2);
        book.send(0);
        told(&mut book, 0, "x");
        let early = book.clone();
        book.send(0);
        told(&mut book, 0, "");
        assert!(!book.is_linearizable(&two()), "a stale read");
        let mut book = early;
        book.send(1);
        told(&mut book, 1, "y");
        assert!(!book.is_linearizable(&two()), "x was done when y began");
    }
}
