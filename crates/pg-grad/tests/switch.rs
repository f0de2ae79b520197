//! With candle's second-order switch off, exact guidance is refused and finite differences still work. A file of its
//! own, because the switch is the process's environment.

use candle_core::{DType, Device, Tensor, Var};
use pg_grad::{Error, Guidance, Provenance, Strategy, Turn, second_order};

#[test]
#[allow(unsafe_code, reason = "the test is a process of its own")]
fn exact_guidance_is_refused_where_candle_detaches() {
    // SAFETY: this is the only test of its process, so no other thread touches the environment.
    unsafe { std::env::remove_var("CANDLE_GRAD_DO_NOT_DETACH") };
    std::thread::spawn(|| {
        let weight = Var::new(&[[1f64, 2.0]], &Device::Cpu).unwrap();
        let x = Tensor::new(&[[3f64, 4.0]], &Device::Cpu).unwrap();
        let label = Tensor::zeros(1, DType::U32, &Device::Cpu).unwrap();
        let (mask, edited) = (x.zeros_like().unwrap(), Tensor::new(&[1f64], &Device::Cpu).unwrap());
        let provenance = Provenance::edited(&label, &mask, &edited).unwrap();
        let step = |guidance: Guidance| {
            let network = |x: &Tensor, _| x.sqr()?.matmul(&weight.t()?);
            guidance.step(&x, &provenance, Some(&Turn::ALL), network, |z| z.sum_all()? * 0.0)
        };
        assert!(matches!(second_order::check(), Err(Error::SecondOrderOff)));
        let refused = step(Guidance::new(1.0));
        assert!(matches!(refused, Err(Error::SecondOrderOff)));

        // L_PG = sum (2 w x)^2, so its gradient is 8 w x^2.
        let strategy = Strategy::FiniteDifference { step: 1e-3 };
        let guided = step(Guidance { strategy, ..Guidance::new(1.0) }).unwrap();
        let gradient = guided.gradients.get(&weight).unwrap().to_vec2::<f64>().unwrap();
        assert!(
            (gradient[0][0] - 72.0).abs() < 1e-6 && (gradient[0][1] - 256.0).abs() < 1e-6,
            "{gradient:?}"
        );
    })
    .join()
    .unwrap();

    // SAFETY: as above; the other thread has ended.
    unsafe { second_order::enable() };
    std::thread::spawn(|| second_order::check().unwrap()).join().unwrap();
}
