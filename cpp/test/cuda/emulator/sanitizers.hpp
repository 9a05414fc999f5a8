// Macros that say which sanitizers this build uses.
#pragma once

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define METASPAN_EMULATOR_TSAN
#endif
#if __has_feature(address_sanitizer)
#define METASPAN_EMULATOR_ASAN
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define METASPAN_EMULATOR_TSAN
#endif
#if defined(__SANITIZE_ADDRESS__)
#define METASPAN_EMULATOR_ASAN
#endif
