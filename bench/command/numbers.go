package command

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Numbers reads what was given to a flag: numbers from least to most, with commas between. They come out ascending.
func Numbers(flag, typed string, least, most int) ([]int, error) {
	var numbers []int
	var errs []error
	for word := range strings.SplitSeq(typed, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < least || n > most {
			errs = append(errs, fmt.Errorf("-%s %q: want numbers from %d to %d", flag, word, least, most))
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, errors.Join(errs...)
}
