//! Policies that more than one suite loads.

/// Opens, reads, writes and closes of files below a folder, through the descriptors that were followed from their
/// opening on. `FOLDER` stands for the folder, `PIDS` for more filters of the open.
pub const FOLLOW: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: follow
spec:
  kprobes:
  - call: fd_install
    syscall: false
    args:
    - {index: 0, type: int}
    - {index: 1, type: file}
    selectors:
    - PIDS
      matchArgs:
      - {index: 1, operator: Prefix, values: ["FOLDER/"]}
      matchActions:
      - {action: FollowFD, argFd: 0, argName: 1}
  - call: sys_close
    syscall: true
    args:
    - {index: 0, type: int}
    selectors:
    - matchActions:
      - {action: UnfollowFD, argFd: 0, argName: 0}
  - call: sys_read
    syscall: true
    args:
    - {index: 0, type: fd}
    - {index: 1, type: char_buf, returnCopy: true}
    - {index: 2, type: size_t}
  - call: sys_write
    syscall: true
    args:
    - {index: 0, type: fd}
    - {index: 1, type: char_buf, sizeArgIndex: 3}
    - {index: 2, type: size_t}
"#;

/// What descends from process 1 inside its own PID namespace is left out.
pub const NOT_OF_INIT: &str =
    "matchPIDs: [{operator: NotIn, followForks: true, isNamespacePID: true, values: [1]}]";
