// Switches stacks: on x86-64 by saving six registers, and elsewhere by functions of the C library,
// which are slower because they also save the signal mask.
#include "fibre.hpp"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstring>
#include <new>

#include "sanitizers.hpp"

#if defined(METASPAN_EMULATOR_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

namespace metaspan::emulator {
namespace {

constexpr std::size_t kStackBytes = std::size_t{1} << 19, kGuardBytes = 4096;

}  // namespace

#if defined(__x86_64__)

struct Fibre::Context {
  void* stack_pointer;
};

// Saves the registers that a call preserves and the stack pointer, and loads those of `to`.
extern "C" void metaspan_switch_stack(void** from, void* to);
__asm__(
    ".text\n"
    ".type metaspan_switch_stack,@function\n"
    "metaspan_switch_stack:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n"
    ".size metaspan_switch_stack,.-metaspan_switch_stack\n"
    // The first switch to a fibre returns to here, with the fibre in rbx and the function in r12.
    ".type metaspan_start_fibre,@function\n"
    "metaspan_start_fibre:\n"
    "  movq %rbx, %rdi\n"
    "  callq *%r12\n"
    "  ud2\n"
    ".size metaspan_start_fibre,.-metaspan_start_fibre\n");
extern "C" void metaspan_start_fibre();

#else

struct Fibre::Context {
  ucontext_t registers;
};

#endif

Fibre::Fibre() : fibre_(new Context), caller_(new Context) {
  void* memory = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<unsigned char*>(memory);
  ::mprotect(stack_, kGuardBytes,
             PROT_NONE);  // an overflow is an error, and does not overwrite another fibre
}

Fibre::~Fibre() {
  ::munmap(stack_, kStackBytes);
  delete fibre_;
  delete caller_;
}

void Fibre::start(void (*entry)(void*), void* argument) {
  entry_ = entry;
  argument_ = argument;
  done_ = false;
  own_locals_ = nullptr;
#if defined(__x86_64__)
  auto* top = reinterpret_cast<std::uint64_t*>(stack_ + kStackBytes);
  // r15, r14, r13, r12, rbx, rbp, the return address, and two words: calls keep 16-byte alignment.
  std::uint64_t* frame = top - 9;
  std::memset(frame, 0, 9 * sizeof(*frame));
  frame[3] = reinterpret_cast<std::uint64_t>(&Fibre::enter);
  frame[4] = reinterpret_cast<std::uint64_t>(this);
  frame[6] = reinterpret_cast<std::uint64_t>(&metaspan_start_fibre);
  fibre_->stack_pointer = frame;
#else
  ::getcontext(&fibre_->registers);
  fibre_->registers.uc_stack.ss_sp = stack_;
  fibre_->registers.uc_stack.ss_size = kStackBytes;
  fibre_->registers.uc_link = nullptr;
  const auto bits = reinterpret_cast<std::uintptr_t>(this);
  void (*const entry_point)(unsigned, unsigned) = [](unsigned high, unsigned low) {
    enter(reinterpret_cast<Fibre*>(static_cast<std::uint64_t>(high) << 32 | low));
  };
  ::makecontext(&fibre_->registers, reinterpret_cast<void (*)()>(entry_point), 2,
                static_cast<unsigned>(static_cast<std::uint64_t>(bits) >> 32),
                static_cast<unsigned>(bits));
#endif
}

void Fibre::enter(Fibre* fibre) {
#if defined(METASPAN_EMULATOR_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &fibre->caller_bottom_, &fibre->caller_bytes_);
#endif
  fibre->entry_(fibre->argument_);
  fibre->done_ = true;
  fibre->leave(true);
}

void Fibre::resume() {
#if defined(METASPAN_EMULATOR_ASAN)
  __sanitizer_start_switch_fiber(&caller_locals_, stack_, kStackBytes);
#endif
#if defined(__x86_64__)
  metaspan_switch_stack(&caller_->stack_pointer, fibre_->stack_pointer);
#else
  ::swapcontext(&caller_->registers, &fibre_->registers);
#endif
#if defined(METASPAN_EMULATOR_ASAN)
  __sanitizer_finish_switch_fiber(caller_locals_, nullptr, nullptr);
#endif
}

void Fibre::pause() {
  leave(false);
#if defined(METASPAN_EMULATOR_ASAN)
  __sanitizer_finish_switch_fiber(own_locals_, &caller_bottom_, &caller_bytes_);
#endif
}

void Fibre::leave([[maybe_unused]] bool for_good) {
#if defined(METASPAN_EMULATOR_ASAN)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &own_locals_, caller_bottom_, caller_bytes_);
#endif
#if defined(__x86_64__)
  metaspan_switch_stack(&fibre_->stack_pointer, caller_->stack_pointer);
#else
  ::swapcontext(&fibre_->registers, &caller_->registers);
#endif
}

}  // namespace metaspan::emulator
