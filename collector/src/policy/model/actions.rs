//! What is done about a call that a selector takes.

use std::{sync::Arc, time::Duration};

use trigon_exporters::outbound::OutboundCall;

use super::arguments::ArgumentSlot;

/// An item of `matchActions`. All but `NoPost` also post the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Post the event.
    Post(Post),
    /// Don't post the event.
    NoPost,
    /// Kill the process. The call itself may still complete.
    Sigkill,
    /// Send the process a signal, 1 to 64.
    Signal(u8),
    /// Follow a descriptor.
    FollowFd {
        /// `argFd`: its number.
        fd: ArgumentSlot,
        /// `argName`: the file it stands for.
        name: ArgumentSlot,
    },
    /// Follow a descriptor no longer.
    UnfollowFd {
        /// `argFd`: its number.
        fd: ArgumentSlot,
    },
    /// Follow a copy of a followed descriptor.
    CopyFd {
        /// `argFd`: the followed one's number.
        from: ArgumentSlot,
        /// `argName`: the copy's number.
        to: ArgumentSlot,
    },
    /// Track a socket: what happens to it later is told of this process.
    TrackSock {
        /// `argSock`: the socket, or a packet that is of one.
        socket: ArgumentSlot,
    },
    /// Track a socket no longer.
    UntrackSock {
        /// `argSock`: the socket, or a packet that is of one.
        socket: ArgumentSlot,
    },
    /// Give the process a mark of the policy's: it has it from then on, whatever it executes.
    Mark {
        /// `mark`: its name.
        mark: Arc<str>,
    },
    /// Take it away.
    Unmark {
        /// `mark`: its name.
        mark: Arc<str>,
    },
    /// Have the function return this, `argError`, and do nothing.
    Override {
        /// An error of errno(3) as a negative number; some functions have other returns. Never 0.
        error: i16,
    },
    /// Give an argument of a probe another value.
    Set {
        /// `argIndex`: which.
        argument: ArgumentSlot,
        /// `argValue`: what it is to be.
        value: i64,
    },
    /// Have the policy's enforcer act at the thread's next call that it is on.
    NotifyEnforcer {
        /// `argError`: what that call returns in place of being made.
        error: Option<i16>,
        /// `argSig`: what the process is sent then.
        signal: Option<u8>,
    },
    /// Take back what the enforcer was told of this thread.
    CleanupEnforcerNotification,
    /// Of an enforcer's own hooks: do what it was told.
    Enforce,
    /// `GetUrl`, `DnsLookup`: have the agent call out, whether the event is posted or not.
    CallOut(OutboundCall),
    /// `imaHash` of a `Post`: tell the hash of the file that the hook is about.
    ImaHash,
}

/// `returnArgAction`: what is done with the socket that a function returns, for each call that a selector takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnAction {
    /// Track it.
    TrackSock,
    /// Track it no longer.
    UntrackSock,
}

/// How an event is posted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Post {
    /// At this rate at most.
    pub limit: Option<RateLimit>,
    /// `kernelStackTrace`: with what led to it in the kernel.
    pub kernel_stack: bool,
    /// `userStackTrace`: with what led to it in the program.
    pub user_stack: bool,
}

/// Of the same events within an interval, one is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The interval: whole seconds.
    pub interval: Duration,
    /// Whose events are the same.
    pub scope: RateLimitScope,
}

/// `rateLimitScope`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RateLimitScope {
    /// Those of a thread.
    #[default]
    Thread,
    /// Those of a process.
    Process,
    /// Those of all.
    Global,
}

// === impl Action ===

impl Action {
    /// Whether it does something to the process or the call.
    pub fn enforces(&self) -> bool {
        matches!(
            self,
            Self::Sigkill
                | Self::Signal(_)
                | Self::Override { .. }
                | Self::Set { .. }
                | Self::NotifyEnforcer { .. }
        )
    }

    /// Whether it can be done where a program is hooked: a followed file is one that the kernel passes.
    pub fn works_in_program(&self) -> bool {
        match self {
            Self::Post(_) | Self::NoPost | Self::Sigkill | Self::Signal(_) => true,
            Self::Mark { .. } | Self::Unmark { .. } => true,
            Self::FollowFd { .. } | Self::UnfollowFd { .. } | Self::CopyFd { .. } => false,
            Self::TrackSock { .. } | Self::UntrackSock { .. } => false,
            Self::Enforce | Self::ImaHash => false,
            // Of which kind of places is said where they are read.
            Self::Override { .. } | Self::Set { .. } => true,
            Self::NotifyEnforcer { .. } | Self::CleanupEnforcerNotification | Self::CallOut(_) => true,
        }
    }

    /// What the agent is to call out to.
    pub fn calls_out(&self) -> Option<&OutboundCall> {
        match self {
            Self::CallOut(call) => Some(call),
            _ => None,
        }
    }

    /// The mark that it gives or takes.
    pub fn mark(&self) -> Option<&Arc<str>> {
        match self {
            Self::Mark { mark } | Self::Unmark { mark } => Some(mark),
            _ => None,
        }
    }

    /// Whether it begins to follow a descriptor.
    pub fn follows(&self) -> bool {
        matches!(self, Self::FollowFd { .. } | Self::CopyFd { .. })
    }
}
