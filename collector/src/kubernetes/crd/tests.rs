use std::{fs, path::Path};

use super::*;

#[test]
fn the_shipped_definitions_are_these() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    for group in PolicyGroup::ALL {
        let mut shipped: Vec<_> = fs::read_dir(folder.join(group.as_str()))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        shipped.sort();
        let mut names = Vec::new();
        for definition in of(group) {
            let name = format!("{}.yaml", definition.spec.names.plural);
            let file = folder.join(group.as_str()).join(&name);
            let text = fs::read_to_string(&file).unwrap();
            assert!(text == yaml(&definition).unwrap(), "{} is old: run `make generate`", file.display());
            names.push(name);
        }
        names.sort();
        assert_eq!(shipped, names, "{} has others", group.as_str());
    }
}

#[test]
fn a_definition_is_the_same_after_it_was_written() {
    for definition in PolicyGroup::ALL.into_iter().flat_map(of) {
        let text = yaml(&definition).unwrap();
        let read: CustomResourceDefinition = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, definition);
        // What `kubectl apply` keeps in an annotation must fit there.
        assert!(serde_json::to_string(&definition).unwrap().len() < 200 << 10);
    }
}

#[test]
fn both_groups_can_be_in_one_cluster() {
    let mut names: Vec<String> = Vec::new();
    for definition in PolicyGroup::ALL.into_iter().flat_map(of) {
        assert_eq!(
            definition.metadata.name.as_deref(),
            Some(&*format!("{}.{}", definition.spec.names.plural, definition.spec.group))
        );
        names.extend(definition.spec.names.short_names.unwrap());
    }
    names.sort();
    assert_eq!(names, ["tgtp", "tgtpn", "tpr", "ttp", "ttpn"]);
}
