package nft

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/google/nftables/xt"
)

// Rule is a rule: matches, then statements, as nft would write them one after the other.
type Rule struct {
	exprs   []expr.Any
	comment string
	// handle is the kernel's number of a rule that was read.
	handle uint64
}

// Part is a match or a statement.
type Part []expr.Any

// NewRule makes a rule.
func NewRule(parts ...Part) Rule {
	var r Rule
	for _, p := range parts {
		r.exprs = append(r.exprs, p...)
	}
	return r
}

// Commented is the rule with a comment, by which it can be known again. The comment has at most 128 bytes.
func (r Rule) Commented(comment string) Rule {
	r.comment = comment
	return r
}

// Comment is the rule's comment: nft's own, or the one that iptables-restore makes of it.
func (r Rule) Comment() string {
	if r.comment != "" {
		return r.comment
	}
	for _, e := range r.exprs {
		if m, ok := e.(*expr.Match); ok && m.Name == "comment" {
			if c, ok := m.Info.(*xt.Comment); ok {
				return string(*c)
			}
		}
	}
	return ""
}

// Refuses says whether the rule drops or rejects everything that reaches it.
func (r Rule) Refuses() bool {
	refuses := false
	for _, e := range r.exprs {
		switch e := e.(type) {
		case *expr.Counter, *expr.Log:
		case *expr.Reject:
			refuses = true
		case *expr.Verdict:
			refuses = e.Kind == expr.VerdictDrop
		case *expr.Target:
			refuses = e.Name == "REJECT" || e.Name == "DROP"
		default:
			return false
		}
	}
	return refuses
}

// key is equal for equal rules, sent or read. What a counter has counted makes no difference. Two kinds of expressions are left
// out because the library writes them and cannot read them.
func (r Rule) key(f Family) (string, error) {
	var key strings.Builder
	key.WriteString(r.comment + "\n")
	for _, e := range r.exprs {
		switch e.(type) {
		case *expr.Rt, *expr.Byteorder:
			continue
		case *expr.Counter:
			e = &expr.Counter{}
		}
		b, err := expr.Marshal(byte(f), e)
		if err != nil {
			return "", fmt.Errorf("encoding a %T: %w", e, err)
		}
		key.Write(b)
	}
	return key.String(), nil
}

// keys are the keys of rules, in order.
func keys(f Family, rules []Rule) ([]string, error) {
	out := make([]string, 0, len(rules))
	for _, r := range rules {
		k, err := r.key(f)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

func (r Rule) nft(t *nftables.Table, c *nftables.Chain) *nftables.Rule {
	out := &nftables.Rule{Table: t, Chain: c, Exprs: r.exprs}
	if r.comment != "" {
		out.UserData = userdata.AppendString(nil, userdata.TypeComment, r.comment)
	}
	return out
}

func ruleOf(r *nftables.Rule) Rule {
	return Rule{exprs: r.Exprs, comment: commentOf(r.UserData), handle: r.Handle}
}

// commentOf finds the comment among a rule's user data, which is whatever its maker put there.
func commentOf(data []byte) string {
	for len(data) >= 2 {
		typ, size := data[0], int(data[1])
		if len(data) < 2+size {
			return ""
		}
		if userdata.Type(typ) == userdata.TypeComment && size > 0 {
			return string(data[2 : 2+size-1]) // It ends in a zero byte.
		}
		data = data[2+size:]
	}
	return ""
}
