//! Pickles of Python, sound and broken. `tests/data/make_pickles.py` made the files.

use proptest::prelude::*;

use super::value::Value;
use super::{Item, Pickle};
use crate::array::Order;

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/data/", $name)).as_slice()
    };
}

const SOUND: [&[u8]; 11] = [
    data!("values_0.pkl"),
    data!("values_1.pkl"),
    data!("values_2.pkl"),
    data!("values_3.pkl"),
    data!("values_4.pkl"),
    data!("values_5.pkl"),
    data!("skeletons_2.pkl"),
    data!("numpy1.pkl"),
    data!("python2.pkl"),
    data!("singh_3.pkl"),
    data!("texts.pkl"),
];

/// A value as Python would print it, arrays as their shape and numbers.
fn shown(item: Item<'_, '_>) -> String {
    let all = |items: Vec<String>| items.join(", ");
    if let Some(array) = item.array() {
        return format!("{:?}{:?}", array.shape(), array.numbers().unwrap());
    }
    if let Some(entries) = item.entries() {
        let entries = entries.map(|(key, value)| format!("{}: {}", shown(key), shown(value)));
        return format!("{{{}}}", all(entries.collect()));
    }
    match (item.items(), item.kind()) {
        (Some(items), "a list") => format!("[{}]", all(items.map(shown).collect())),
        (Some(items), _) => format!("({})", all(items.map(shown).collect())),
        (_, "a string") => format!("{:?}", item.text().unwrap()),
        (_, "an integer") => item.int().unwrap().to_string(),
        (_, "a float") => format!("{:e}", item.number().unwrap()),
        (_, kind) => kind.to_owned(),
    }
}

#[test]
fn all_protocols_hold_the_same_values() {
    let range = "[2, 3][0.0, 1.0, 2.0, 3.0, 4.0, 5.0]";
    let mut arrays = vec![range; 13];
    arrays[10] = "[2, 3][0.0, 1.0, 1.0, 1.0, 1.0, 1.0]";
    arrays.extend([range, "[0, 2][]", "[2, 2][0.0, 2.0, 3.0, 5.0]"]);
    arrays.push("[3, 2, 2][0.0, 6.0, 1.0, 7.0, 2.0, 8.0, 3.0, 9.0, 4.0, 10.0, 5.0, 11.0]");
    let expected = [
        r#"{"none": None, "true": a bool, "false": a bool, "#,
        r#""ints": [0, -1, 255, 256, 65535, 65536, -2147483648, 1099511627776, -4611686018427387904], "#,
        r#""floats": [5e-1, -1e300], "text": "ré\\n☃\n", "bytes": bytes, "empty": bytes, "tuple": (), "#,
        r#""four": (1, 2, 3, 4), "shared": [[1, 2], [1, 2]], "ordered": {"b": 1, "a": 2}, "#,
        r#""scalars": [5e-1, -3, a bool, "wave"], "arrays": ["#,
        &arrays.join(", "),
        "]}",
    ];
    for (protocol, bytes) in SOUND.into_iter().take(6).enumerate() {
        let pickle = Pickle::read(bytes).unwrap();
        assert_eq!(shown(pickle.root()), expected.concat(), "protocol {protocol}");
    }
}

#[test]
fn bytes_come_out_as_they_went_in() {
    for bytes in SOUND.into_iter().take(6) {
        let pickle = Pickle::read(bytes).unwrap();
        let of = |key| pickle.root().entries().unwrap().find(|(name, _)| name.text() == Some(key)).unwrap().1;
        // Not UTF-8, and so no text.
        assert_eq!(of("bytes").text(), None);
        assert_eq!(of("empty").text(), Some(""));
        let wanted =
            pickle.values.iter().any(|value| matches!(value, Value::Bytes(b) if **b == *b"\0\xff\n"));
        assert!(wanted);
    }
}

#[test]
fn long_numpy_strings_are_read() {
    let pickle = Pickle::read(data!("texts.pkl")).unwrap();
    let texts: Vec<_> = pickle.root().items().unwrap().map(|item| item.text().unwrap().to_owned()).collect();
    assert_eq!(texts, ["v".repeat(100)]);
}

#[test]
fn python_2_is_read() {
    let pickle = Pickle::read(data!("python2.pkl")).unwrap();
    let root = pickle.root();
    assert_eq!(root.get("a").map(shown).as_deref(), Some("[1, 2][1.0, 2.0]"));
    assert_eq!(root.get("b").unwrap().items().unwrap().next().unwrap().text(), Some("text"));
    let ordered = Pickle::read(b"ccollections\nOrderedDict\n(((K\x01K\x02lltR.").unwrap();
    assert_eq!(shown(ordered.root()), "{1: 2}");
    // Strings as protocol 0 writes them.
    let quoted = Pickle::read(b"(lp0\nS'a\\x41\\n\\'\\\\'\na.").unwrap();
    assert_eq!(quoted.root().items().unwrap().next().unwrap().text(), Some("aA\n'\\"));
}

#[test]
fn what_is_broken_is_said_in_one_line() {
    const TRUNCATED: &str = "byte 0: ends within a value; copy the file again";
    const STORE: &str = "store plain lists, dictionaries and NumPy arrays";
    let array = |shape: &[u8], bytes: &[u8]| {
        let start = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01";
        let dtype = b"cnumpy\ndtype\n(U\x02f4tR";
        [start, shape, dtype, b"I00\nU", &[bytes.len() as u8], bytes, b"tb."].concat()
    };
    let deep = [vec![b']'; 100_000], vec![b'a'; 99_999], b".".to_vec()].concat();
    assert_eq!(Pickle::read(&deep).unwrap().root().kind(), "a list", "deep nesting costs nothing");
    let text = b"X\x28\0\0\0abcdefghijabcdefghijabcdefghijabcdefghij".as_slice();
    let encode = [b"c_codecs\nencode\nq\0", text, b"X\x06\0\0\0latin1\x86q\x01"].concat();
    let turned = |axes: &[u8]| {
        let start = b"cnumpy.core.numeric\n_frombuffer\n(C\x02xycnumpy\ndtype\n(U\x02u1tR(K\x02K\x01tU\x01K";
        [start, axes, b"tR."].concat()
    };
    let cases: Vec<(Vec<u8>, String)> = vec![
        (vec![], TRUNCATED.into()),
        (b"\x80\x06N.".to_vec(), format!("byte 0: has a protocol above 5; {STORE}")),
        (b"(lp0\n".to_vec(), "byte 5: ends within a value; copy the file again".into()),
        (b"U\x09abc.".to_vec(), TRUNCATED.into()),
        (b"B\xff\xff\xff\xffabc.".to_vec(), TRUNCATED.into()),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc.".to_vec(), TRUNCATED.into()),
        (b"T\xff\xff\xff\xffabc.".to_vec(), TRUNCATED.into()),
        (b"\x8b\xff\xff\xff\x7fabc.".to_vec(), TRUNCATED.into()),
        (b"0.".to_vec(), "byte 0: takes more from the stack than there is; copy the file again".into()),
        (
            b"]K\x01(0e.".to_vec(),
            "byte 4: takes more from the stack than there is; copy the file again".into(),
        ),
        (b"](a.".to_vec(), "byte 2: takes more from the stack than there is; copy the file again".into()),
        (b"]e.".to_vec(), "byte 1: takes more from the stack than there is; copy the file again".into()),
        (b"K\x01K\x02a.".to_vec(), format!("byte 4: appends to what is no list; {STORE}")),
        (b"}(K\x01u.".to_vec(), format!("byte 4: a dictionary has a key without a value; {STORE}")),
        (
            b"j\x01\0\0\0.".to_vec(),
            "byte 0: refers to memo 1, which was not stored; copy the file again".into(),
        ),
        (b"X\x01\0\0\0\xff.".to_vec(), format!("byte 0: a string is not UTF-8; {STORE}")),
        (b"I1x\n.".to_vec(), format!("byte 0: a number is malformed; {STORE}")),
        (b"\x8a\x09123456789.".to_vec(), format!("byte 0: an integer has more than 64 bits; {STORE}")),
        (
            b"\x8f.".to_vec(),
            "byte 0: operation 0x8f is not supported; is this a pickle of lists, dictionaries and NumPy \
             arrays?"
                .into(),
        ),
        (
            b"cos\nsystem\n(S'true'\ntR.".to_vec(),
            format!("byte 0: calls `os.system`, which is not allowed; {STORE}"),
        ),
        (
            b"X\x03\0\0\0a\nbX\x01\0\0\0c\x93.".to_vec(),
            format!("byte 14: calls `a\\nb.c`, which is not allowed; {STORE}"),
        ),
        (
            data!("evil.pkl").to_vec(),
            format!("byte 32: calls `builtins.print`, which is not allowed; {STORE}"),
        ),
        (data!("cycle.pkl").to_vec(), "byte 21: a value contains itself; store a tree".into()),
        (
            b"cnumpy\ndtype\n(U\x02O8tR.".to_vec(),
            "byte 19: element type `O8` is not supported; store numbers of 1 to 8 bytes".into(),
        ),
        (
            b"ccollections\nOrderedDict\n((K\x01ltR.".to_vec(),
            format!("byte 31: a dictionary is made of what are no pairs; {STORE}"),
        ),
        (
            b"c_codecs\nencode\n(V\\u0100\nU\x06latin1tR.".to_vec(),
            format!("byte 34: encodes text that is not latin1; {STORE}"),
        ),
        (b"K\x01)R.".to_vec(), format!("byte 3: calls what is no function; {STORE}")),
        (
            b"cnumpy\nndarray\n)R.".to_vec(),
            format!("byte 16: calls a function with arguments that it does not take; {STORE}"),
        ),
        (
            array(b"(K\x03t", b"1234"),
            "byte 76: an array of 3 elements of 4 bytes has 4 bytes; write the file again".into(),
        ),
        (
            array(b"(\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x09t", b"1234"),
            "byte 86: an array of 9223372036854775807 x 9 elements of 4 bytes has 4 bytes; write the \
             file again"
                .into(),
        ),
        (
            array(b"(J\xff\xff\xff\xfft", b"1234"),
            format!("byte 79: the shape of an array is no tuple of lengths; {STORE}"),
        ),
        (turned(b"(K\x01K\x01t"), format!("byte 73: the axes of an array are not each there once; {STORE}")),
        (
            turned(b"(K\x01K\0K\x02t"),
            format!("byte 75: the axes of an array are not each there once; {STORE}"),
        ),
        (
            [encode.as_slice(), &b"h\0h\x01R".repeat(40), b"."].concat(),
            "byte 146: encodes more text than the file holds; store it where it is used".into(),
        ),
    ];
    let found: Vec<_> =
        cases.iter().map(|(bytes, _)| Pickle::read(bytes).map(|_| ()).unwrap_err().to_string()).collect();
    let expected: Vec<_> = cases.into_iter().map(|(_, expected)| expected).collect();
    assert_eq!(found, expected);
}

/// Most operations, and some of what they take.
const OPERATIONS: &[u8] = b".(012NIJKLMFSTUVX]lae)t}dsupqrghjcRb\n\x00\x01\x02'\
    \x80\x81\x85\x86\x87\x88\x8a\x8c\x8e\x93\x94\x95";

/// Bytes that the values of a pickle take on the heap.
fn weight(pickle: &Pickle<'_>) -> usize {
    let content = |value: &Value<'_>| match value {
        Value::Str(std::borrow::Cow::Owned(text)) => text.capacity(),
        Value::Bytes(std::borrow::Cow::Owned(bytes)) => bytes.capacity(),
        Value::List(items) | Value::Tuple(items) => items.capacity() * 4,
        Value::Dict(entries) => entries.capacity() * 8,
        Value::Array(array) => {
            let axes = if let Order::Axes(axes) = &array.order { axes.capacity() } else { 0 };
            size_of_val(&**array) + (array.shape.capacity() + axes) * 8
        }
        _ => 0,
    };
    pickle.values.capacity() * size_of::<Value<'_>>() + pickle.values.iter().map(content).sum::<usize>()
}

/// Reads and walks, and checks what it took.
fn survive(bytes: &[u8]) {
    if let Ok(pickle) = Pickle::read(bytes) {
        assert!(weight(&pickle) <= 1024 + 128 * bytes.len(), "{} for {}", weight(&pickle), bytes.len());
        for (key, value) in pickle.root().entries().into_iter().flatten() {
            let _ = (key.text(), value.array().and_then(|array| array.numbers()));
        }
    }
}

#[test]
fn one_byte_operations_weigh_little() {
    for operation in [b"]".as_slice(), b"}", b")", b"N", b"(", b"]0", b"}\x94", b"K\x01"] {
        const COUNT: usize = 100_000;
        let many = operation.repeat(COUNT);
        // What ends a mark.
        let ends = if operation == b"(" { b"1".repeat(COUNT) } else { Vec::new() };
        let bytes = [many, ends, b"N.".to_vec()].concat();
        assert!(Pickle::read(&bytes).is_ok(), "{operation:?}");
        survive(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survive(&bytes);
    }

    #[test]
    fn random_operations_are_survived(
        bytes in prop::collection::vec(
            prop::sample::select(OPERATIONS.to_vec()),
            0..200,
        ),
    ) {
        survive(&bytes);
    }

    #[test]
    fn mutated_pickles_are_survived(
        which in 0..SOUND.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..8),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = SOUND[which].to_vec();
        for (place, byte, edit) in edits {
            let place = place.index(bytes.len());
            match edit {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                2 if bytes.len() > 1 => drop(bytes.remove(place)),
                // Repeats what lies there.
                _ => {
                    let part = bytes[place..bytes.len().min(place + usize::from(byte))].to_vec();
                    bytes.splice(place..place, part);
                }
            }
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        survive(&bytes);
    }
}
