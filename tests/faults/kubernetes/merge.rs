//! Server-side apply on JSON: who owns which field, what a new apply changes, and what it takes away.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Where a field is. An item of a list with keys is `[KEY=VALUE,...]`.
pub type Path = Vec<String>;

/// The fields of each manager.
pub type Managers = BTreeMap<String, BTreeSet<Path>>;

/// Applies `new` as `manager`, or says which manager holds a field that it would change.
pub fn apply(
    live: &mut Value,
    managers: &mut Managers,
    manager: &str,
    force: bool,
    new: &Value,
) -> Result<(), String> {
    let mut wanted = BTreeSet::new();
    leaves(new, &mut Vec::new(), &mut wanted);
    let others = |path: &Path| {
        let mut others = managers.iter().filter(|(name, _)| *name != manager);
        others.find(|(_, fields)| fields.contains(path))
    };
    if !force {
        for path in &wanted {
            let (old, value) = (get(live, path), get(new, path));
            if let Some((holder, _)) = others(path)
                && old.is_some()
                && old != value
            {
                return Err(format!("conflict with {holder:?}: {}", path.join("")));
            }
        }
    }
    let before = managers.get(manager).cloned().unwrap_or_default();
    for path in before.difference(&wanted) {
        let held = managers
            .iter()
            .any(|(name, fields)| name != manager && fields.iter().any(|f| f.starts_with(path)));
        if !held && !wanted.iter().any(|w| w.starts_with(path)) {
            remove(live, path);
        }
    }
    merge(live, new, "");
    if force {
        for (name, fields) in managers.iter_mut() {
            if name != manager {
                fields.retain(|f| !wanted.contains(f) || get(live, f) == get(new, f));
            }
        }
    }
    managers.insert(manager.to_owned(), wanted);
    Ok(())
}

/// Maps that are replaced as a whole, as lists without keys are.
const ATOMIC: [&str; 5] = [
    ".selector",
    ".nodeSelector",
    ".podSelector",
    ".namespaceSelector",
    ".labelSelector",
];

/// The keys of an item of the list `field`; none: the list is replaced as a whole.
fn keys(field: &str, item: &Value) -> &'static [&'static str] {
    match field {
        ".conditions" => &["type"],
        ".containers" | ".initContainers" | ".volumes" | ".env" | ".users" => &["name"],
        ".ports" if item.get("containerPort").is_some() => &["containerPort", "protocol"],
        ".ports" => &["port", "protocol"],
        ".volumeMounts" => &["mountPath"],
        ".ownerReferences" => &["uid"],
        ".topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        _ => &[],
    }
}

fn key(field: &str, item: &Value) -> Option<String> {
    let pairs: Vec<String> = keys(field, item)
        .iter()
        .map(|name| format!("{name}={}", item.get(*name).unwrap_or(&Value::Null)))
        .collect();
    (!pairs.is_empty()).then(|| format!("[{}]", pairs.join(",")))
}

/// The key of each item, when all have one.
fn keyed(field: &str, list: &[Value]) -> Option<Vec<String>> {
    list.iter().map(|item| key(field, item)).collect()
}

fn leaves(value: &Value, path: &mut Path, found: &mut BTreeSet<Path>) {
    let field = path.last().cloned().unwrap_or_default();
    match value {
        Value::Object(map) if !map.is_empty() && !ATOMIC.contains(&field.as_str()) => {
            for (name, value) in map {
                path.push(format!(".{name}"));
                leaves(value, path, found);
                path.pop();
            }
        }
        Value::Array(list) if !list.is_empty() => match keyed(&field, list) {
            Some(keys) => {
                for (key, item) in keys.into_iter().zip(list) {
                    path.push(key);
                    found.insert(path.clone());
                    leaves(item, path, found);
                    path.pop();
                }
            }
            None => drop(found.insert(path.clone())),
        },
        _ => drop(found.insert(path.clone())),
    }
}

fn merge(live: &mut Value, new: &Value, field: &str) {
    match (live, new) {
        (Value::Object(live), Value::Object(new)) if !ATOMIC.contains(&field) => {
            for (name, value) in new {
                match live.get_mut(name) {
                    Some(old) => merge(old, value, &format!(".{name}")),
                    None => drop(live.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(live), Value::Array(new)) if keyed(field, new).is_some() => {
            for item in new {
                let wanted = key(field, item);
                match live.iter_mut().find(|old| key(field, old) == wanted) {
                    Some(old) => merge(old, item, ""),
                    None => live.push(item.clone()),
                }
            }
        }
        (live, new) => *live = new.clone(),
    }
}

fn get<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    let (mut value, mut field) = (value, "");
    for part in path {
        value = if part.starts_with('[') {
            let list = value.as_array()?;
            list.iter().find(|i| key(field, i).as_ref() == Some(part))?
        } else {
            value.get(&part[1..])?
        };
        field = part;
    }
    Some(value)
}

/// Removes a field, and what is empty without it.
fn remove(value: &mut Value, path: &[String]) {
    remove_in(value, path, "");
}

fn remove_in(value: &mut Value, path: &[String], field: &str) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    match value {
        Value::Array(list) => {
            let Some(at) = list
                .iter()
                .position(|i| key(field, i).as_ref() == Some(first))
            else {
                return;
            };
            if rest.is_empty() {
                list.remove(at);
            } else {
                remove_in(&mut list[at], rest, first);
            }
        }
        Value::Object(map) => {
            if rest.is_empty() {
                map.remove(&first[1..]);
            } else if let Some(inner) = map.get_mut(&first[1..]) {
                remove_in(inner, rest, first);
                if is_empty(inner) {
                    map.remove(&first[1..]);
                }
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// A JSON merge patch, as RFC 7396 has it.
pub fn patch(live: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *live = patch.clone();
        return;
    };
    if !live.is_object() {
        *live = Value::Object(Map::new());
    }
    let Some(live) = live.as_object_mut() else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            live.remove(name);
        } else {
            self::patch(live.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_manager_does_not_apply_any_more_is_removed_unless_another_has_it() {
        let (mut live, mut managers) = (json!({}), Managers::new());
        let both = json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"ports": [{"port": 1, "protocol": "TCP"}]}});
        apply(&mut live, &mut managers, "one", true, &both).unwrap();
        let b = json!({"metadata": {"labels": {"b": "1"}}});
        apply(&mut live, &mut managers, "two", true, &b).unwrap();
        apply(&mut live, &mut managers, "one", true, &json!({})).unwrap();
        assert_eq!(live, b);
    }

    #[test]
    fn a_field_of_another_manager_is_changed_only_by_force() {
        let (mut live, mut managers) = (json!({}), Managers::new());
        apply(&mut live, &mut managers, "one", true, &json!({"a": 1})).unwrap();
        let two = json!({"a": 2});
        assert!(apply(&mut live, &mut managers, "two", false, &two).is_err());
        apply(&mut live, &mut managers, "two", true, &two).unwrap();
        apply(&mut live, &mut managers, "one", true, &json!({})).unwrap();
        assert_eq!(live, two);
    }
}
