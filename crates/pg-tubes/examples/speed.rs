//! How long linking and evaluation take on as much as UCF101-24's test split: 910 videos of 175 frames and 24
//! classes, three people in each frame, and ten tubes of each class in each video.
//!
//! ```text
//! cargo run --release -p pg-tubes --example speed
//! ```

use std::time::Instant;

use pg_tubes::{
    ActOptions, BoundingBox, Convention, DetectedTube, Evaluation, FrameMapOptions, InstanceScores,
    LabelledTube, Linking, OnlineOptions, Trimming, Tube, VideoDetections, VideoTruth,
};

const VIDEOS: usize = 910;
const FRAMES: usize = 175;
const CLASSES: usize = 24;
const PEOPLE: usize = 3;
const TUBES: usize = 10;

/// Numbers in 0..1 that look random (SplitMix64, Steele et al. 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() * end as f64) as usize
    }

    /// Of a person who stands somewhere in an image of 320 x 240.
    fn place(&mut self) -> BoundingBox {
        let (x0, y0) = (self.next() * 250.0, self.next() * 120.0);
        BoundingBox { x0, y0, x1: x0 + 40.0 + self.next() * 30.0, y1: y0 + 80.0 + self.next() * 40.0 }
    }

    fn tube(&mut self) -> Tube {
        let (place, start) = (self.place(), self.below(FRAMES / 2));
        Tube { start, boxes: vec![place; FRAMES / 3 + self.below(FRAMES / 6)] }
    }
}

fn main() {
    let mut numbers = Numbers(0);
    let classes: Vec<String> = (0..CLASSES).map(|class| format!("class {class}")).collect();
    let truth: Vec<VideoTruth> = (0..VIDEOS).map(|video| annotated(video, &classes, &mut numbers)).collect();
    let mut detections: Vec<_> = (0..VIDEOS).map(|video| detected(video, &classes, &mut numbers)).collect();

    for convention in Convention::ALL {
        let start = Instant::now();
        let evaluation = Evaluation::new(&truth, &detections, convention, FrameMapOptions::default());
        let value =
            evaluation.map(|evaluation| evaluation.video_map.over(&[0.2]).unwrap_or_default().by(convention));
        report(
            &format!("evaluate, {} (video-mAP {:.4})", convention.name(), value.unwrap_or_default()),
            start,
        );
    }
    let trimmed = ActOptions { trimming: Some(Trimming::default()), ..ActOptions::default() };
    let strategies = [
        ("act", Linking::default()),
        ("act, trimmed", Linking::Act(trimmed)),
        ("online", Linking::Online(OnlineOptions::default())),
        ("tracks", Linking::Tracks(Default::default())),
    ];
    for (name, linking) in strategies {
        let start = Instant::now();
        linking.link(&mut detections);
        let tubes: usize = detections.iter().map(|video| video.tubes.len()).sum();
        report(&format!("link, {name} ({tubes} tubes)"), start);
    }
}

#[allow(clippy::print_stdout, reason = "its only output")]
fn report(what: &str, start: Instant) {
    println!("{what}: {:.2} s", start.elapsed().as_secs_f64());
}

fn annotated(video: usize, classes: &[String], numbers: &mut Numbers) -> VideoTruth {
    let label = &classes[video % CLASSES];
    let tubes = (0..1 + video % 3).map(|_| LabelledTube { label: label.clone(), tube: numbers.tube() });
    VideoTruth { id: format!("v{video}"), tubes: tubes.collect() }
}

fn detected(video: usize, classes: &[String], numbers: &mut Numbers) -> VideoDetections {
    let places: Vec<BoundingBox> = (0..PEOPLE).map(|_| numbers.place()).collect();
    let people = (0..FRAMES)
        .flat_map(|frame| places.iter().enumerate().map(move |(track, place)| (frame, track, *place)));
    let instances = people.map(|(frame, track, bounding_box)| InstanceScores {
        frame,
        track: u32::try_from(track).ok(),
        bounding_box,
        scores: (0..CLASSES).map(|_| numbers.next() as f32).collect(),
    });
    let instances = instances.collect();
    let of_each_class = classes.iter().flat_map(|label| std::iter::repeat_n(label, TUBES));
    let tubes = of_each_class
        .map(|label| DetectedTube { label: label.clone(), score: numbers.next(), tube: numbers.tube() })
        .collect();
    VideoDetections { id: format!("v{video}"), frames: FRAMES, classes: classes.to_vec(), instances, tubes }
}
