//! One loop, compiled for several instruction sets.

/// Defines a function generic over [`Real`](super::storage::Real) whose body is compiled for
/// AVX-512, for AVX2 and for the build's own target, and which runs the widest that the processor
/// has.
///
/// No multiply-add is contracted and every lane count is written out in the bodies, so the three
/// give the same bits.
macro_rules! widest {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<T>($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[allow(unsafe_code, clippy::too_many_arguments)]
        $vis fn $name<T: $crate::net::ops::storage::Real>($($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            fn body<T: $crate::net::ops::storage::Real>($($arg: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn avx512<T: $crate::net::ops::storage::Real>($($arg: $type),*) $(-> $result)? {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2<T: $crate::net::ops::storage::Real>($($arg: $type),*) $(-> $result)? {
                    body($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has the feature that the function was compiled for.
                    return unsafe { avx512($($arg),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}

pub(super) use widest;
