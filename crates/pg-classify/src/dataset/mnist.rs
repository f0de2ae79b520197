//! Decoy-MNIST (Ross, Hughes and Doshi-Velez, "Right for the Right Reasons", 2017): digits with a grey patch
//! in a corner that gives the class away in training and says nothing in the test.
//!
//! The patch has 4x4 pixels, lies in a random corner, and has the grey 255 - 25 * digit; in the test the
//! digit in this formula is drawn at random. Where it lies is known, so every image carries its exact
//! provenance and no edits are needed.

use std::path::Path;
use std::sync::Arc;

use image::{Rgb, RgbImage};
use pg_provenance::BinaryMask;
use pg_random::Seed;
use rand::RngExt;

use super::idx::{self, Digits, SIDE};
use super::{Dataset, DatasetError, Example, Options, Picture, edits, manifest};

const FOLDERS: [&str; 2] = ["", "MNIST/raw"];
const PATCH: usize = 4;

/// The digits of a root: those to train and select with, and those to test.
struct Pools {
    learn: Digits,
    test: Digits,
}

/// Decoy-MNIST from the IDX files of MNIST in `root` (or in `MNIST/raw` below it, as torchvision unpacks
/// them).
///
/// With all four files: 54,000 training, 6,000 validation and 10,000 test images. With the `t10k` files
/// alone: the first 8,000 of the 10,000 images are learned from (7,200 training, 800 validation) and the last
/// 2,000 tested. In either case the last tenth of the images to learn from validates, in the order of the
/// file. Validation images carry the decoy of the *training* images: who selects a model does not know the
/// test's distribution either.
///
/// Images stay 28x28 pixels, grey repeated to RGB, and are fed to networks in [0, 1] as MNIST's are. `target` and `truth` of every image are 0 on the patch, 1
/// elsewhere.
///
/// # Errors
/// [`DatasetError::Missing`] without the `t10k` files or with one file of a pair alone, `DatasetError::Idx*` for files
/// that are not MNIST's, and [`DatasetError::EditsUnsupported`] when the options name edits.
pub fn open_decoy(root: &Path, options: &Options) -> Result<Dataset, DatasetError> {
    edits::refuse("decoy-mnist", options)?;
    decoyed_set(read(root)?, options)
}

/// As [`open_decoy`] with all four files, but from the Hugging Face hub (`ylecun/mnist`), whose files then stay in the
/// hub's local cache.
///
/// # Errors
/// [`DatasetError::Hub`] if they can neither be found there nor fetched.
#[cfg(feature = "hub")]
pub fn fetch_decoy(options: &Options) -> Result<Dataset, DatasetError> {
    edits::refuse("decoy-mnist", options)?;
    let fetch = || {
        let mnist = candle_datasets::vision::mnist::load()?;
        Ok(Pools {
            learn: digits(&mnist.train_images, &mnist.train_labels)?,
            test: digits(&mnist.test_images, &mnist.test_labels)?,
        })
    };
    let pools = fetch().map_err(|source: candle_core::Error| DatasetError::Hub {
        dataset: "decoy-mnist".to_owned(),
        reason: source.to_string().lines().next().unwrap_or_default().to_owned(),
        advice: manifest::advice("decoy-mnist"),
    })?;
    decoyed_set(pools, options)
}

/// Images (n, 784) in [0, 1] and labels (n,) as bytes.
#[cfg(feature = "hub")]
fn digits(images: &candle_core::Tensor, labels: &candle_core::Tensor) -> candle_core::Result<Digits> {
    let byte = |value: f32| (255.0 * value).round() as u8;
    let images = images.to_vec2::<f32>()?.into_iter().map(|image| image.into_iter().map(byte).collect());
    Ok(images.zip(labels.to_vec1::<u8>()?).collect())
}

fn decoyed_set(Pools { mut learn, test }: Pools, options: &Options) -> Result<Dataset, DatasetError> {
    let val = learn.split_off(learn.len() - learn.len() / 10);
    let mut set = Dataset::empty("decoy-mnist", (0..10).map(|digit| digit.to_string()).collect());
    set.side = SIDE as u32;
    set.normalize = false;
    set.train = decoyed(&learn, "decoy train", options.seed, Decoy::OfTheClass);
    set.val = decoyed(&val, "decoy val", options.seed, Decoy::OfTheClass);
    set.test = decoyed(&test, "decoy test", options.seed, Decoy::Random);
    set.checked()
}

fn read(root: &Path) -> Result<Pools, DatasetError> {
    for folder in FOLDERS.map(|folder| root.join(folder)) {
        let Some(mut test) = idx::read(&folder, "t10k")? else { continue };
        if let Some(learn) = idx::read(&folder, "train")? {
            return Ok(Pools { learn, test });
        }
        tracing::warn!(
            "{}: no train-images-idx3-ubyte; the test images serve for training and test, 4 : 1",
            folder.display()
        );
        let held_out = test.split_off(test.len() / 5 * 4);
        return Ok(Pools { learn: test, test: held_out });
    }
    Err(DatasetError::Missing {
        path: root.join("t10k-images-idx3-ubyte.gz"),
        advice: format!("nor in {}; {}", FOLDERS[1], manifest::advice("decoy-mnist")),
    })
}

/// What the grey of the patch says.
#[derive(Clone, Copy)]
enum Decoy {
    OfTheClass,
    Random,
}

/// The digits with their patches, drawn from a stream for each image.
fn decoyed(digits: &Digits, stream: &str, seed: Seed, decoy: Decoy) -> Vec<Example> {
    let draw = |((pixels, digit), index): (&(Vec<u8>, u8), u64)| {
        let mut random = seed.stream(stream, &[index]);
        let mut edge = || if random.random() { 0 } else { SIDE - PATCH };
        let (left, top) = (edge(), edge());
        let said = match decoy {
            Decoy::OfTheClass => *digit,
            Decoy::Random => random.random_range(0..10),
        };
        let in_patch =
            |x: usize, y: usize| (left..left + PATCH).contains(&x) && (top..top + PATCH).contains(&y);
        let image = RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
            let (x, y) = (x as usize, y as usize);
            Rgb([if in_patch(x, y) { 255 - 25 * said } else { pixels[y * SIDE + x] }; 3])
        });
        let target = BinaryMask::from_fn(SIDE, SIDE, |x, y| !in_patch(x, y));
        let mut example = Example::new(Picture::Memory(Arc::new(image)), u32::from(*digit), None);
        example.truth = Some(target.clone());
        example.target = Some(target);
        example
    };
    digits.iter().zip(0..).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::write;
    use super::*;

    fn labels(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n % 10) as u8).collect()
    }

    fn small() -> Dataset {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "t10k", &labels(1000));
        open_decoy(root.path(), &Options::default()).unwrap()
    }

    fn image(example: &Example) -> Arc<RgbImage> {
        example.picture.load().unwrap()
    }

    /// The grey in the patch of an example, checked to be uniform.
    fn patch_grey(example: &Example) -> u8 {
        let (image, target) = (image(example), example.target.as_ref().unwrap());
        let mut greys: Vec<u8> =
            image.pixels().zip(target.bits()).filter(|&(_, &on)| !on).map(|(pixel, _)| pixel[0]).collect();
        assert_eq!(greys.len(), 16);
        greys.dedup();
        assert_eq!(greys.len(), 1);
        greys[0]
    }

    #[test]
    fn ten_thousand_alone_split_in_8_to_2_with_a_tenth_of_the_8_for_validation() {
        let set = small();
        assert_eq!((set.train.len(), set.val.len(), set.test.len()), (720, 80, 200));
        // Pixels outside the patch hold the position in the file, modulo 256.
        let centre = |example: &Example| image(example).get_pixel(14, 14)[0];
        assert_eq!(centre(&set.train[3]), 3);
        assert_eq!(centre(&set.val[0]), (720 % 256) as u8);
        assert_eq!(centre(&set.test[0]), (800 % 256) as u8);
    }

    #[test]
    fn all_four_files_keep_the_official_test() {
        let root = tempfile::tempdir().unwrap();
        let raw = root.path().join("MNIST/raw");
        std::fs::create_dir_all(&raw).unwrap();
        write(&raw, "train", &labels(200));
        write(&raw, "t10k", &labels(30));
        let set = open_decoy(root.path(), &Options::default()).unwrap();
        assert_eq!((set.train.len(), set.val.len(), set.test.len()), (180, 20, 30));
    }

    #[test]
    fn the_patch_tells_the_class_in_training_and_validation_but_not_in_the_test() {
        let set = small();
        let tells = |example: &&Example| patch_grey(example) == 255 - 25 * example.label as u8;
        assert!(set.train.iter().chain(&set.val).all(|example| tells(&example)));
        let told = set.test.iter().filter(tells).count();
        assert!((5..=45).contains(&told), "{told} of 200, about 20 expected");
    }

    #[test]
    fn the_patch_lies_in_each_corner_about_equally_often_and_all_else_is_untouched() {
        let set = small();
        let mut corners = [0; 4];
        for example in &set.train {
            let target = example.target.as_ref().unwrap();
            let hit = [(0, 0), (27, 0), (0, 27), (27, 27)].map(|(x, y)| !target.get(x, y));
            assert_eq!(hit.iter().filter(|&&hit| hit).count(), 1);
            corners[hit.iter().position(|&hit| hit).unwrap()] += 1;
            assert_eq!(example.truth, example.target);
        }
        assert!(
            corners.iter().all(|&count| (130..=230).contains(&count)),
            "{corners:?}, about 180 each expected"
        );
    }

    #[test]
    fn decoys_depend_on_the_options_seed_alone() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "t10k", &labels(100));
        let targets = |seed| -> Vec<_> {
            let options = Options { seed: Seed(seed), ..Options::default() };
            open_decoy(root.path(), &options)
                .unwrap()
                .train
                .into_iter()
                .map(|example| example.target)
                .collect()
        };
        assert_eq!(targets(0), targets(0));
        assert_ne!(targets(0), targets(1));
    }

    #[cfg(feature = "hub")]
    #[test]
    fn fetched_digits_are_those_of_the_files() {
        use candle_core::{Device, Tensor};
        let bytes: Vec<u8> = (0..2 * 784).map(|n| (n % 256) as u8).collect();
        let shares: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        let images = Tensor::from_vec(shares, (2, 784), &Device::Cpu).unwrap();
        let labels = Tensor::new(&[7_u8, 3], &Device::Cpu).unwrap();
        let expected: Digits = bytes.chunks(784).map(<[u8]>::to_vec).zip([7, 3]).collect();
        assert_eq!(digits(&images, &labels).unwrap(), expected);
    }

    #[test]
    fn too_few_or_no_files_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = || open_decoy(root.path(), &Options::default()).unwrap_err().to_string();
        assert!(error().contains("t10k-images-idx3-ubyte.gz: not found; "), "{}", error());
        // Training images alone do not make the test images serve for training.
        write(root.path(), "t10k", &labels(100));
        std::fs::write(root.path().join("train-images-idx3-ubyte"), "").unwrap();
        assert!(error().contains("train-labels-idx1-ubyte: not found; "), "{}", error());
        std::fs::remove_file(root.path().join("train-images-idx3-ubyte")).unwrap();
        write(root.path(), "t10k", &labels(10));
        assert_eq!(error(), "decoy-mnist: class `8` has no training images; add some or drop the class");
        write(root.path(), "t10k", &[]);
        assert_eq!(error(), "decoy-mnist: no training images; check the split");
        let options = Options { edits: Some("edits.csv".into()), ..Options::default() };
        assert_eq!(
            open_decoy(root.path(), &options).unwrap_err().to_string(),
            "decoy-mnist: takes no edits from files; drop the manifest of edits"
        );
    }
}
