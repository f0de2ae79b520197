//! Batches made ahead of their use, in order, by one thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Why an item did not come.
#[derive(Debug, thiserror::Error)]
pub enum PrefetchError<E> {
    /// Making it failed.
    #[error(transparent)]
    Item(E),
    /// Making it panicked. No item follows.
    #[error("the loader of item {index} panicked ({message}); this is a bug, please report it")]
    Panic {
        /// The item.
        index: usize,
        /// What the panic said.
        message: String,
    },
    /// The thread could not be started.
    #[error("no thread for the loader ({0}); close other programs or raise the limit on processes")]
    Spawn(std::io::Error),
}

/// An iterator over `make(0), make(1), ...`, of which up to `depth` are made before they are asked for.
///
/// `make` runs on a thread of its own and may use rayon inside. An error takes the place of its item and the
/// following items still come. Dropping the iterator stops the thread after the item it is making.
#[derive(Debug)]
pub struct Prefetch<T, E> {
    items: Option<Receiver<Result<T, PrefetchError<E>>>>,
    producer: Option<JoinHandle<()>>,
}

impl<T: Send + 'static, E: Send + 'static> Prefetch<T, E> {
    /// Starts making `count` items.
    ///
    /// # Errors
    /// [`PrefetchError::Spawn`] if the system has no thread to give.
    pub fn new<F>(count: usize, depth: usize, make: F) -> Result<Self, PrefetchError<E>>
    where
        F: Fn(usize) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = sync_channel(depth);
        let producer = thread::Builder::new()
            .name("prefetch".to_owned())
            .spawn(move || produce(count, &make, &sender))
            .map_err(PrefetchError::Spawn)?;
        Ok(Self { items: Some(receiver), producer: Some(producer) })
    }
}

/// Sends each item, until one panics or nobody listens any more.
fn produce<T, E>(
    count: usize,
    make: &dyn Fn(usize) -> Result<T, E>,
    sender: &SyncSender<Result<T, PrefetchError<E>>>,
) {
    for index in 0..count {
        // After a panic nothing of `make` is used again, so that it may be left inconsistent.
        let (item, done) = match catch_unwind(AssertUnwindSafe(|| make(index))) {
            Ok(item) => (item.map_err(PrefetchError::Item), false),
            Err(panic) => (Err(PrefetchError::Panic { index, message: message(&*panic) }), true),
        };
        if sender.send(item).is_err() || done {
            return;
        }
    }
}

/// What a panic said, if it said a string.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

impl<T, E> Iterator for Prefetch<T, E> {
    type Item = Result<T, PrefetchError<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.items.as_ref()?.recv().ok()
    }
}

impl<T, E> Drop for Prefetch<T, E> {
    fn drop(&mut self) {
        // The receiver first: a producer that waits for room in the queue wakes up by it.
        drop(self.items.take());
        if let Some(producer) = self.producer.take() {
            // Its panics are caught and delivered as items.
            let _ = producer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn items_come_in_order_and_once() {
        for depth in [0, 1, 3, 100] {
            let squares =
                Prefetch::new(50, depth, |i| Ok::<_, ()>((0..=i).into_par_iter().map(|_| i).sum::<usize>()));
            let squares: Vec<usize> = squares.unwrap().map(Result::unwrap).collect();
            assert_eq!(squares, (0..50).map(|i| i * (i + 1)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_takes_the_place_of_its_item() {
        let items =
            Prefetch::new(5, 2, |i| if i == 2 { Err("two.png is truncated") } else { Ok(i) }).unwrap();
        let items: Vec<_> = items.map(|item| item.map_err(|error| error.to_string())).collect();
        assert_eq!(items, [Ok(0), Ok(1), Err("two.png is truncated".to_owned()), Ok(3), Ok(4)]);
    }

    #[test]
    fn a_panic_becomes_the_last_item() {
        let mut items =
            Prefetch::new(5, 2, |i| if i == 1 { panic!("bad batch {i}") } else { Ok::<_, String>(i) })
                .unwrap();
        assert!(matches!(items.next(), Some(Ok(0))));
        assert!(
            matches!(items.next(), Some(Err(PrefetchError::Panic { index: 1, message })) if message == "bad batch 1")
        );
        assert!(items.next().is_none() && items.next().is_none());
    }

    /// Ahead of the consumer are at most `depth` items in the queue and one in the producer's hands.
    #[test]
    fn no_more_than_depth_items_wait() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let mut items = Prefetch::new(10, 2, move |_| Ok::<_, ()>(counter.fetch_add(1, SeqCst))).unwrap();
        for expected in 0..10 {
            assert!(made.load(SeqCst) <= expected + 3, "{} made before item {expected}", made.load(SeqCst));
            assert!(matches!(items.next(), Some(Ok(i)) if i == expected));
        }
        assert!(items.next().is_none());
    }

    #[test]
    fn dropping_the_iterator_stops_the_thread() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let mut items =
            Prefetch::new(usize::MAX, 1, move |_| Ok::<_, ()>(counter.fetch_add(1, SeqCst))).unwrap();
        items.next();
        drop(items); // joins the thread: returns only if it ended
        assert_eq!(Arc::strong_count(&made), 1);
        assert!(made.load(SeqCst) <= 4, "{}", made.load(SeqCst));
    }
}
