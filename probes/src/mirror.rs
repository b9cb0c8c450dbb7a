//! The C structs that kernel and user space share, mirrored in Rust, and the test that both sides agree.

/// Defines structs that mirror those of a C header, and for the layout test what their fields are called.
macro_rules! mirror {
    ($($(#[$meta:meta])* $c_name:literal $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$meta])*
            // IntoBytes is derived for what it refuses: a struct with padding that nobody wrote down.
            #[derive(Clone, Copy, Debug, Default)]
            #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable)]
            #[repr(C)]
            #[expect(missing_docs, reason = "the fields are those of the C header, which explains them")]
            pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }
        )*

        /// C name, size, and each field's name, offset and size.
        #[cfg(test)]
        const LAYOUTS: $crate::mirror::Layouts = &[
            $(($c_name, size_of::<$name>(), &[
                $((stringify!($field), std::mem::offset_of!($name, $field), {
                    const fn size<T>(_: fn(&$name) -> &T) -> usize { size_of::<T>() }
                    size(|value| &value.$field)
                }),)*
            ]),)*
        ];
    };
}

pub(crate) use mirror;

/// C name, size, and each field's name, offset and size.
#[cfg(test)]
pub(crate) type Layouts = &'static [(&'static str, usize, &'static [(&'static str, usize, usize)])];

/// Lets the C compiler check size and offset of every field of every struct.
#[cfg(test)]
pub(crate) fn check(header: &str, layouts: Layouts) {
    use std::{fmt::Write as _, process::Command};

    let mut source = format!("#include <stddef.h>\n#include <linux/types.h>\n#include \"bpf/{header}\"\n");
    for (name, size, fields) in layouts {
        let listed: usize = fields.iter().map(|(_, _, size)| size).sum();
        assert_eq!(listed, *size, "{name} has bytes that no field accounts for");
        writeln!(source, "_Static_assert(sizeof(struct {name}) == {size}, \"{name}\");").unwrap();
        for (field, offset, size) in *fields {
            // Words that Rust keeps for itself.
            let field = if *field == "kind" { "type" } else { field };
            writeln!(
                source,
                "_Static_assert(offsetof(struct {name}, {field}) == {offset} && \
                 sizeof(((struct {name} *)0)->{field}) == {size}, \"{name}.{field}\");"
            )
            .unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("layout.c");
    std::fs::write(&file, source).unwrap();
    let check = Command::new("clang")
        .args(["-target", "bpf", "-fsyntax-only", "-I", env!("CARGO_MANIFEST_DIR")])
        .arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH))
        .arg(&file)
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}
