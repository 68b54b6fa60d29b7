// See io.h.
#pragma once
#include "io.h"
