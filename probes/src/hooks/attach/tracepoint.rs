//! Tracepoints: by the perf event that they are, or raw, and where what tables look at lies in their records.

use std::{ffi::CString, os::fd::AsFd as _};

use aya::Pod;

use super::{Attachment, attaching};
use crate::{
    ProbeError,
    hooks::{FieldUse, HookId, Hooks, Target},
    lifecycle::Kernel,
    programs,
    sys::{self, attach_type, program_type},
    tracefs::{Event, Place},
    types::Types,
};

/// Fields that a table can look at: as many as a call has raw values.
pub const FIELDS: usize = 8;

/// `struct field` of bpf/tracepoints.bpf.c.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(in crate::hooks) struct Field {
    offset: u16,
    size: u16,
    kind: u8,
    is_size: u8,
    reserved: [u8; 2],
}

/// `struct fields` of bpf/tracepoints.bpf.c.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(in crate::hooks) struct Fields([Field; FIELDS]);

/// `enum field_kind` of bpf/tracepoints.bpf.c.
mod field_kind {
    pub(super) const UNSIGNED: u8 = 1;
    pub(super) const SIGNED: u8 = 2;
    pub(super) const ARRAY: u8 = 3;
    pub(super) const LOCATED: u8 = 4;
    pub(super) const RELATIVE: u8 = 5;
}

#[expect(unsafe_code, reason = "what aya asks of values")]
mod pod {
    use super::{Fields, Pod};

    // SAFETY: integers without padding: every bit pattern is a value.
    unsafe impl Pod for Fields {}
}

// === impl Hooks ===

impl Hooks {
    pub(super) fn attach_tracepoint(
        &mut self,
        kernel: &Kernel,
        id: HookId,
        target: &Target,
        place: programs::Place,
    ) -> Result<Attachment, ProbeError> {
        match target {
            Target::Tracepoint { subsystem, event } => {
                self.attach_event(kernel, id, &Event::read(subsystem, event)?, place)
            }
            Target::RawTracepoint { event, .. } => self.attach_raw(kernel, id, target, event, place),
            _ => Err(ProbeError::NoFunction(target.to_string())),
        }
    }

    fn attach_event(
        &mut self,
        kernel: &Kernel,
        id: HookId,
        event: &Event,
        place: programs::Place,
    ) -> Result<Attachment, ProbeError> {
        /// `PERF_TYPE_TRACEPOINT`
        const TRACEPOINT: u32 = 2;
        let object = self.object("tracepoints", kernel)?;
        let program = object.program("tracepoint_entry", program_type::TRACEPOINT, attach_type::NONE, 0)?;
        let perf = sys::open_perf_event(TRACEPOINT, event.id, None, 0).map_err(attaching)?;
        let mut attachment = Attachment::default();
        attachment.link_event(program.as_fd(), perf, u64::from(id.0))?;
        attachment.programs.push(self.programs.watch(program, place));
        attachment.fields = event.fields.iter().map(Field::of_record).collect();
        Ok(attachment)
    }

    fn attach_raw(
        &mut self,
        kernel: &Kernel,
        id: HookId,
        target: &Target,
        event: &str,
        place: programs::Place,
    ) -> Result<Attachment, ProbeError> {
        let unknown = || ProbeError::NoFunction(format!("raw tracepoint {event}"));
        // The program could read beyond the arguments that there are: how many is in their prototype.
        let arguments = Types::read()?.of(target)?.parameters.len();
        let name = CString::new(event).map_err(|_| unknown())?;
        let object = self.object("tracepoints", kernel)?;
        let program = object.program_of_hook("raw_tracepoint_entry", program_type::RAW_TRACEPOINT, id.0)?;
        let link = sys::open_raw_tracepoint(program.as_fd(), Some(&name)).map_err(attaching)?;
        let mut attachment = Attachment::default();
        attachment.links.push(link);
        attachment.programs.push(self.programs.watch(program, place));
        attachment.fields = (0..arguments).map(Field::argument).collect();
        Ok(attachment)
    }
}

// === impl Field ===

impl Field {
    fn of_record(field: &crate::tracefs::Field) -> Self {
        let kind = match field.place {
            _ if field.common => return Self::default(),
            Place::Scalar if field.is_array() => field_kind::ARRAY,
            Place::Scalar if field.signed => field_kind::SIGNED,
            Place::Scalar => field_kind::UNSIGNED,
            Place::Array => field_kind::ARRAY,
            Place::Located => field_kind::LOCATED,
            Place::Relative => field_kind::RELATIVE,
        };
        Self { offset: field.offset, size: field.size, kind, ..Self::default() }
    }

    /// Of a raw tracepoint, which passes all in 64 bits.
    fn argument(index: usize) -> Self {
        Self { offset: 8 * index as u16, size: 8, kind: field_kind::UNSIGNED, ..Self::default() }
    }
}

// === impl Fields ===

impl Fields {
    /// What a table uses of these fields.
    ///
    /// # Errors
    /// There is no such field, or the kernel keeps it to itself; or the table uses too many.
    pub(in crate::hooks) fn of_table(
        fields: &[Field],
        uses: &[FieldUse],
        target: &Target,
    ) -> Result<Self, ProbeError> {
        let mut all = Self::default();
        if uses.len() > FIELDS {
            return Err(ProbeError::Full("fields of a tracepoint: its policies look at 8 at most"));
        }
        for (place, one) in all.0.iter_mut().zip(uses) {
            let field = fields.get(usize::from(one.number)).filter(|field| field.kind != 0);
            let field = field.ok_or_else(|| ProbeError::NoField(target.to_string(), one.number))?;
            *place = Field { is_size: u8::from(one.is_size), ..*field };
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_get_the_fields_that_they_use() {
        let target = Target::RawTracepoint { subsystem: "s".to_owned(), event: "e".to_owned() };
        let known: Vec<_> = (0..3).map(Field::argument).collect();
        let uses = |number, is_size| FieldUse { number, is_size };
        let fields = Fields::of_table(&known, &[uses(2, false), uses(0, true)], &target).unwrap();
        assert_eq!((fields.0[0].offset, fields.0[0].is_size), (16, 0));
        assert_eq!((fields.0[1].offset, fields.0[1].is_size), (0, 1));
        assert_eq!(fields.0[2], Field::default());
        assert!(matches!(
            Fields::of_table(&known, &[uses(3, false)], &target),
            Err(ProbeError::NoField(_, 3))
        ));
        let hidden = [Field::default()];
        assert!(matches!(
            Fields::of_table(&hidden, &[uses(0, false)], &target),
            Err(ProbeError::NoField(_, 0))
        ));
        let many = [uses(0, false); FIELDS + 1];
        assert!(matches!(Fields::of_table(&known, &many, &target), Err(ProbeError::Full(_))));
    }
}
