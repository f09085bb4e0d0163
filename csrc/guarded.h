// How an exception crosses to Rust: as a message that the caller frees with rationale_free, null where there was none.

#pragma once

#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <cstring>
#include <exception>

template <typename Body> char *guarded(Body body) {
  try {
    c10::AutoGradMode no_grad(false);
    body();
    return nullptr;
  } catch (const c10::Error &error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception that is not a std::exception");
  }
}
