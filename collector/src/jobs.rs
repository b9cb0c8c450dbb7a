//! Asking a thread that owns something to do a thing with it: one job after the other, and an answer to each.

use std::{
    fmt::{self, Debug, Formatter},
    sync::Arc,
};

use tokio::sync::{mpsc, oneshot};

/// What is to be done with a `T`.
pub type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// Gives jobs to the thread that owns a `T`.
pub struct Handle<T> {
    jobs: mpsc::Sender<Job<T>>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// The owner's end: the jobs, in the order in which they came.
#[derive(Debug)]
pub struct Jobs<T>(mpsc::Receiver<Job<T>>);

/// The agent stops: nothing is done any more.
#[derive(Debug, thiserror::Error)]
#[error("the agent is stopping")]
pub struct Stopping;

/// Jobs that wait; more wait with whoever gives them.
const WAITING: usize = 16;

/// Two ends, where the owner waits for nothing but jobs.
pub fn channel<T>() -> (Handle<T>, Jobs<T>) {
    channel_to(|| ())
}

/// Two ends, where the owner waits for other things, too, and `wake` tells it of each job.
pub fn channel_to<T>(wake: impl Fn() + Send + Sync + 'static) -> (Handle<T>, Jobs<T>) {
    let (jobs, receiver) = mpsc::channel(WAITING);
    (Handle { jobs, wake: Arc::new(wake) }, Jobs(receiver))
}

// === impl Handle ===

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), wake: Arc::clone(&self.wake) }
    }
}

impl<T> Debug for Handle<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.jobs).finish()
    }
}

impl<T: 'static> Handle<T> {
    /// Has a job done, and waits for what comes of it.
    ///
    /// # Errors
    /// The agent stops.
    pub async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, Stopping> {
        let (done, result) = oneshot::channel();
        let job: Job<T> = Box::new(move |owned| {
            // Whoever asked may have gone.
            let _ = done.send(job(owned));
        });
        self.jobs.send(job).await.map_err(|_| Stopping)?;
        (self.wake)();
        result.await.map_err(|_| Stopping)
    }

    /// Has a job done, without waiting for that. Not for asynchronous tasks.
    ///
    /// # Errors
    /// The agent stops.
    pub fn blocking_give(&self, job: impl FnOnce(&mut T) + Send + 'static) -> Result<(), Stopping> {
        self.jobs.blocking_send(Box::new(job)).map_err(|_| Stopping)?;
        (self.wake)();
        Ok(())
    }
}

// === impl Jobs ===

impl<T> Jobs<T> {
    /// The next job, once there is one; none when nobody is left to give any.
    pub fn wait(&mut self) -> Option<Job<T>> {
        self.0.blocking_recv()
    }

    /// The next job, if there is one now.
    pub fn next_now(&mut self) -> Option<Job<T>> {
        self.0.try_recv().ok()
    }
}
