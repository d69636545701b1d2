/* What Rust's standard library calls of bcryptprimitives.dll, for versions of Wine that have none. */
#include <windows.h>
#include <ntsecapi.h>

BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return RtlGenRandom(data, (ULONG)size); }
