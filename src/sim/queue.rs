//! What will happen, in order of time; at the same time in the order in which it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A queue of things to come.
#[derive(Debug)]
pub struct Queue<T> {
    heap: BinaryHeap<Due<T>>,
    planned: u64,
}

#[derive(Debug)]
struct Due<T> {
    at_us: u64,
    order: u64,
    what: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { heap: BinaryHeap::new(), planned: 0 }
    }
}

impl<T> Queue<T> {
    /// Something happens then.
    pub fn plan(&mut self, at_us: u64, what: T) {
        self.planned += 1;
        self.heap.push(Due { at_us, order: self.planned, what });
    }

    /// What comes next, and when.
    pub fn next(&mut self) -> Option<(u64, T)> {
        self.heap.pop().map(|due| (due.at_us, due.what))
    }

    /// When that is.
    pub fn next_us(&self) -> Option<u64> {
        self.heap.peek().map(|due| due.at_us)
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Due<T>) -> Ordering {
        (other.at_us, other.order).cmp(&(self.at_us, self.order)) // the earliest is the greatest
    }
}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Due<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Due<T>) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Due<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_ties_keep_their_order() {
        let mut queue = Queue::default();
        for (at_us, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            queue.plan(at_us, what);
        }
        let order: String = std::iter::from_fn(|| queue.next()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }
}
