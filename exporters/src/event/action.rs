//! What was done about a call.

/// What a policy did about a call; the numbers and names are those of `tetragon.KprobeAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of a policy's actions")]
pub enum Action {
    #[default]
    Unknown = 0,
    Post = 1,
    FollowFd = 2,
    Sigkill = 3,
    UnfollowFd = 4,
    Override = 5,
    CopyFd = 6,
    GetUrl = 7,
    DnsLookup = 8,
    NoPost = 9,
    Signal = 10,
    TrackSock = 11,
    UntrackSock = 12,
    NotifyEnforcer = 13,
    CleanupEnforcerNotification = 14,
    Set = 15,
}

/// By number: the name in JSON, and the word that a policy's author writes.
const ALL: [(Action, &str, &str); 16] = [
    (Action::Unknown, "KPROBE_ACTION_UNKNOWN", "Unknown"),
    (Action::Post, "KPROBE_ACTION_POST", "Post"),
    (Action::FollowFd, "KPROBE_ACTION_FOLLOWFD", "FollowFD"),
    (Action::Sigkill, "KPROBE_ACTION_SIGKILL", "Sigkill"),
    (Action::UnfollowFd, "KPROBE_ACTION_UNFOLLOWFD", "UnfollowFD"),
    (Action::Override, "KPROBE_ACTION_OVERRIDE", "Override"),
    (Action::CopyFd, "KPROBE_ACTION_COPYFD", "CopyFD"),
    (Action::GetUrl, "KPROBE_ACTION_GETURL", "GetUrl"),
    (Action::DnsLookup, "KPROBE_ACTION_DNSLOOKUP", "DnsLookup"),
    (Action::NoPost, "KPROBE_ACTION_NOPOST", "NoPost"),
    (Action::Signal, "KPROBE_ACTION_SIGNAL", "Signal"),
    (Action::TrackSock, "KPROBE_ACTION_TRACKSOCK", "TrackSock"),
    (Action::UntrackSock, "KPROBE_ACTION_UNTRACKSOCK", "UntrackSock"),
    (Action::NotifyEnforcer, "KPROBE_ACTION_NOTIFYENFORCER", "NotifyEnforcer"),
    (
        Action::CleanupEnforcerNotification,
        "KPROBE_ACTION_CLEANUPENFORCERNOTIFICATION",
        "CleanupEnforcerNotification",
    ),
    (Action::Set, "KPROBE_ACTION_SET", "Set"),
];

// === impl Action ===

impl Action {
    /// The action with this number; [`Self::Unknown`] where there is none.
    pub fn from_number(number: u8) -> Self {
        ALL.get(usize::from(number)).map_or(Self::Unknown, |(action, ..)| *action)
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The name in JSON: `KPROBE_ACTION_POST`.
    pub fn name(self) -> &'static str {
        ALL[usize::from(self.number())].1
    }

    /// The word that a policy's author writes: `Post`.
    pub fn word(self) -> &'static str {
        ALL[usize::from(self.number())].2
    }

    /// Whether it changes what the process can do, and does not only tell of it.
    pub fn enforces(self) -> bool {
        matches!(self, Self::Sigkill | Self::Override | Self::Signal | Self::NotifyEnforcer | Self::Set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_at_its_number() {
        for (number, (action, name, word)) in ALL.into_iter().enumerate() {
            assert_eq!(usize::from(action.number()), number);
            assert_eq!(Action::from_number(number as u8), action);
            assert_eq!(name, format!("KPROBE_ACTION_{}", word.to_uppercase()));
            assert_eq!((action.name(), action.word()), (name, word));
        }
        assert_eq!(Action::from_number(16), Action::Unknown);
        assert_eq!(Action::from_number(u8::MAX), Action::Unknown);
    }
}
